"""The devices of the machine, and the log."""
