"""Sees whether a Python can run hpcdl's worker. That Python runs this file, as ``python -c TEXT``.

It answers with one line, ``hpcdl: {"files": [...]}``: what the answer depends on. Any old Python
must be able to read the lines before its version is checked.
"""

import sys

if __name__ == "__main__":
    # The worker starts in another folder than hpcdl.
    sys.path[:] = [folder for folder in sys.path if folder]
    if sys.version_info < (3, 10):
        sys.exit("it is Python {}.{}; expected 3.10 or newer".format(*sys.version_info[:2]))

    import json

    import msgspec  # noqa: F401 - the worker and the attempt need these
    import submitit  # noqa: F401

    import hpcdl.launch.attempt
    import hpcdl.worker.__main__  # noqa: F401
    from hpcdl.preflight.loaded_files import loaded_files

    sys.stdout.write("hpcdl: " + json.dumps({"files": loaded_files()}) + "\n")
