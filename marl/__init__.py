"""marl: one reinforcement-learning policy, trained by every computer you already have."""

__version__ = "0.1.0"
