"""What the processes of one node share, by name: each field has one writer, so nobody waits for a lock."""
