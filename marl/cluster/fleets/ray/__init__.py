"""Children on the nodes of a Ray cluster that exists already."""
