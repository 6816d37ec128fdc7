"""The link that crosses networks: a WebSocket inside TLS, who dials it and who listens for it."""
