"""Words into objects: one file a command."""
