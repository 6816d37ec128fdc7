"""Many weights into one: pure functions and small classes on flat float32 vectors."""
