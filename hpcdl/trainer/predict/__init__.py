"""Predicts the images of a folder with saved models, block by block."""
