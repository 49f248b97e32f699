"""Trains a model and scores it."""
