"""Who may speak: the cluster key, certificates made from it, tickets, and the TLS that checks them."""
