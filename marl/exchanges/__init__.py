"""Exchanges: what children upload, and what the parent answers. An exchange never uses a link itself."""
