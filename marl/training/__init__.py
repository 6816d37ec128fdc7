"""How a network changes."""
