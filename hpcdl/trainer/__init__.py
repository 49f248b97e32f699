"""The training program that runs inside the container: ``python -m hpcdl.trainer RUN_JSON``.

Python 3.8 syntax, the standard library, numpy and tensorflow only. It imports
nothing else of hpcdl. The rest of hpcdl imports only what says how a run is specified (`spec`) and how data lie on
disk (`images`, `imagetree`, `filenames`, `recordfiles`, `idx`), which need neither numpy nor tensorflow.
"""
