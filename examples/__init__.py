"""Parts of one's own: copy a file, change it, name it by its import path. See docs/extending.md."""
