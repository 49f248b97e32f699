"""SLURM: its commands, what they print, and what a site allows its user."""
