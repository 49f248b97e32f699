"""What the jobs of ``hpcdl cluster test`` run in the image: Python 3.8, and numpy at most."""
