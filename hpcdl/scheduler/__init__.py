"""SLURM's commands, and the submitit executors on top of them."""
