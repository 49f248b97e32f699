"""The version of hpcdl."""

__version__ = "0.5.0"
