"""Children upload weights, the parent averages them in rounds."""
