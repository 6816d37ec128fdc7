"""Distributions of measured numbers, which are the actions in a box; about -1 to 1 is all of a box with bounds."""
