"""Programs that print the numbers the README quotes, each a module to run with `python -m`."""
