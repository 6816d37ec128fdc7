"""How messages move: links that keep the promise of ``marl/wire/link.py``."""
