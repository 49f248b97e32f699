"""Exports trained models in the forms that other programs run, and measures each of them."""
