"""What TLS sees: certificates, what is demanded of the other side, who it is, and refusals in plain words."""
