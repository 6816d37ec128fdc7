"""What a run saves: checkpoints and weights files, whose contents are believed only where marl wrote them."""
