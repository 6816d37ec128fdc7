"""Children upload weights, the parent mixes each into its own as it comes."""
