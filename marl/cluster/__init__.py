"""Who does it, and where."""
