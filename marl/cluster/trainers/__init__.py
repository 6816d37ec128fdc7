"""Trainers play the steps of a run and learn from them: workers here, actors and a learner, or children."""
