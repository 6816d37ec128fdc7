"""Studies, and the environment that some of them train."""
