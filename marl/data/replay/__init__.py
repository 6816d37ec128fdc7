"""Experience that is kept: serialised trajectories, replays, what each sample is worth."""
