"""A run: settings, training watched from its start to its end, evaluation, checkpoints, result."""
