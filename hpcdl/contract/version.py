"""The version of hpcdl."""

__version__ = "0.2.0"
