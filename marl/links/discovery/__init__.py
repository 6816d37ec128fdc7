"""How a parent finds children on the local network."""
