"""Stays until the job ends: hpcdl cluster test cancels it."""

from __future__ import annotations

import sys
import time

_STAYS_S = 600

if __name__ == "__main__":
    sys.stdout.write("waiting to be cancelled\n")
    sys.stdout.flush()
    time.sleep(_STAYS_S)
