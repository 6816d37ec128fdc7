"""Workers of all children learn from parts of one minibatch: the mean of their gradients moves all weights alike."""
