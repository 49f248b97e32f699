"""Reads data sets and makes batches of them."""
