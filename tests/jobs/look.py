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
if "TF_CONFIG" in os.environ:  # SLURM mixes the parts of long lines of several workers
    seen["env"] = {"TF_CONFIG": os.environ["TF_CONFIG"]}
print(json.dumps(seen))
