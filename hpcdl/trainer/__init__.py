"""The training program that runs inside the container: ``python -m hpcdl.trainer RUN_JSON``.

Python 3.8 syntax, the standard library, numpy and tensorflow only. It imports
nothing else of hpcdl, and the rest of hpcdl imports only `hpcdl.trainer.spec` and `hpcdl.trainer.images`.
"""
