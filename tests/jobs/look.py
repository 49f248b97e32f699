"""Prints what a job sees: arguments, variables, folders."""

import json
import os
import sys

keras = os.path.join(os.environ["KERAS_HOME"], "datasets")
seen = {
    "args": sys.argv[1:],
    "env": dict(os.environ),
    "cwd": os.getcwd(),
    "datasets": sorted(os.listdir(keras)),
}
print(json.dumps(seen))
