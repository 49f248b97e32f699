"""The training program that runs inside the container: ``python -m hpcdl.trainer RUN_JSON``.

Python 3.8 syntax, the standard library, numpy and tensorflow only. Of hpcdl it imports nothing but
`hpcdl.contract`, which the host imports as well: how a run is specified, and how data lie on disk.
"""
