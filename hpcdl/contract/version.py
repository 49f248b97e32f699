"""The version of hpcdl."""

__version__ = "0.4.0"
