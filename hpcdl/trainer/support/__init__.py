"""What hpcdl puts next to a user's script in the container: figures are kept, notebooks run.

It is copied into the run folder as the package ``hpcdl_support``. Python 3.8 and the standard
library only (matplotlib where the program has loaded it), and nothing else of hpcdl.
"""
