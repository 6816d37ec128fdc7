"""What losses aim at: pure functions."""
