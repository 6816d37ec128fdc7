"""Children upload observations, the parent chooses actions and learns."""
