"""What people look at: the meter, the live view, the run folder, summaries and pictures."""
