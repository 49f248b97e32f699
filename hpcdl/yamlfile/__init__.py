"""YAML in and out, with the place of every value, and dataclasses filled from it."""
