"""Stays until the job ends: hpcdl cluster test cancels it."""

from __future__ import annotations

import sys
import time

sys.stdout.write("waiting to be cancelled\n")
sys.stdout.flush()
time.sleep(600)
