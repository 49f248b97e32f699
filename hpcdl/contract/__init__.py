"""What the host and the container both know: specs, image files, names, memory. Python 3.8, standard library only."""
