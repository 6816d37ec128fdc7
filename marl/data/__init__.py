"""What things are: trajectories, spaces, shared memory, running statistics."""
