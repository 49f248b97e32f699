"""The version of hpcdl."""

__version__ = "0.3.0"
