"""What the host and the container both know. Python 3.8 and its standard library only."""
