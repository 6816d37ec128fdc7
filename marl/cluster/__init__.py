"""The nodes of a run: workers, a learner, a child and how it meets its parent."""
