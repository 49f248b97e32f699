"""Reads run folders and draws one run's report, or several runs side by side.

Nothing here loads TensorFlow.
"""
