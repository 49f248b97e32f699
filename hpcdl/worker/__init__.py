"""The submitit layer: pickles a call on the login node, and loads it on the compute node."""
