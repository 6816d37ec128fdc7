"""The settings of one run: what there is, where it is read from, what can work."""
