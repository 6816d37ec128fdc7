"""What a run saves: checkpoints and weights files. A file is checked before anything in it is used."""
