"""What travels: messages, the handshake, compressed weights, and the promise of a link."""
