"""Children upload trajectories, a learner at the parent learns from them."""
