"""A trained policy in files that need no marl to be used."""
