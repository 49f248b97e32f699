"""Programs that an image's own Python runs, as ``python -c TEXT``.

Each reads its question from stdin and answers with one line, ``hpcdl: {json}``. Python 3.8 and the
standard library only.
"""
