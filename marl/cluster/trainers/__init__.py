"""Where steps are played and learned from: workers here, actors and a learner, children."""
