"""How to learn: one file an algorithm."""
