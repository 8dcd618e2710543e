"""Who is asking, and what they may do. Pure: no network, no database; `auth.keys` alone touches files."""
