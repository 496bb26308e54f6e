"""Writes a file past the kernel's cache, block by block, and says when each one was on the disk.

Arguments: bytes in all, bytes a block, and the path. The answer is one line of JSON: [seconds, bytes so far], or
{"error": …} where the file system takes no writes past the cache.
"""

import json
import mmap
import os
import sys
import time

whole, block, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
page = mmap.mmap(-1, block)  # begins at a whole page, as writing past the cache asks for
page.write(os.urandom(block))
try:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_DIRECT, 0o600)
except OSError as fault:
    print(json.dumps({"error": fault.strerror}), flush=True)
else:
    rows, began = [[0.0, 0]], time.monotonic()
    while rows[-1][1] < whole:
        written = os.write(handle, page)
        rows.append([time.monotonic() - began, rows[-1][1] + written])
    os.close(handle)
    os.unlink(path)
    print(json.dumps(rows), flush=True)
time.sleep(600)  # until the control group has been looked at
