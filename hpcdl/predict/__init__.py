"""Predicts images on this machine with an exported model and LiteRT, without TensorFlow."""
