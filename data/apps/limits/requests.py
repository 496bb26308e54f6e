"""Serves requests that each take the same time on a processor, however fast that is. SIGUSR1 asks for a round of them.

Arguments: how many a round has, and the processor seconds of one. A round's answer is one line of JSON: ``seconds`` is
each request's length by the clock, ``trace`` is [seconds by the clock, seconds on a processor] at the ends of each gap
in which this program had no processor.
"""

import json
import signal
import sys
import time

GAP = 0.004  # seconds; what is shorter is no pause worth drawing

count, cost = int(sys.argv[1]), float(sys.argv[2])
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
print("ready", flush=True)
while signal.sigwait({signal.SIGUSR1, signal.SIGTERM}) == signal.SIGUSR1:
    start, start_cpu = time.monotonic(), time.process_time()
    last, used, seconds, trace = start, start_cpu, [], [[0.0, 0.0]]
    for _ in range(count):
        began, began_cpu = time.monotonic(), time.process_time()
        while used - began_cpu < cost:
            now, spent = time.monotonic(), time.process_time()
            if now - last > GAP:
                trace += [[last - start, used - start_cpu], [now - start, spent - start_cpu]]
            last, used = now, spent
        seconds.append(time.monotonic() - began)
    trace.append([last - start, used - start_cpu])
    print(json.dumps({"seconds": seconds, "trace": trace}), flush=True)
