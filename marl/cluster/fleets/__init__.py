"""Where children come from."""
