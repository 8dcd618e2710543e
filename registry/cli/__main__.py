"""`python -m registry.cli` is `longshore`."""

from registry.cli import main

main()
