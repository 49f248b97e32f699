"""Reads run folders and draws: one run's report, and several runs side by side. Nothing here loads TensorFlow."""
