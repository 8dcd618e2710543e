"""HTTP, and nothing but HTTP: requests into calls, values and refusals into responses."""
