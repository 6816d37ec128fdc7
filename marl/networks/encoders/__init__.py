"""What makes features of observations."""
