"""The version of hpcdl."""

__version__ = "0.6.0"
