"""Commands that make, give and take away keys."""
