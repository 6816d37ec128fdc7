"""Commands that show something of environments."""
