"""Reads batch scripts for SLURM, and says what is wrong with them; never runs a line of them."""
