"""Built-in recurrent cores."""
