"""Children upload observations, the parent decides and learns."""
