"""What is acted on."""
