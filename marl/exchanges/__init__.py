"""What an upload means, and what the answer is. An exchange never sees a link."""
