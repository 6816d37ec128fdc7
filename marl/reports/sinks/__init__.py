"""Where events go, one file for each kind of sink: files, TensorBoard, the terminal; a user's own by import path."""
