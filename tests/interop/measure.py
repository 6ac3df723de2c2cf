"""Runs a command and prints its seconds and its peak of resident memory in bytes, behind what it printed itself.

    python3 measure.py COMMAND [ARGUMENT...]

The system counts to a process's peak what its parent held when it started it: a parent as large as torch must not.
"""

import os
import sys
import time

start = time.monotonic()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
print(time.monotonic() - start, usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
