"""Print how many hashes a second this machine does: `bare.py m=19456,t=2,p=1 6` measures for six seconds."""

import os
import sys
import threading
import time

from argon2.low_level import Type, hash_secret

memory, passes, lanes = (int(part.partition("=")[2]) for part in sys.argv[1].split(","))
seconds = float(sys.argv[2])
end = time.monotonic() + seconds
done: list[bool] = []


def hash_until_the_end() -> None:
    """Hash one password after another."""
    while time.monotonic() < end:
        hash_secret(b"three random words", os.urandom(16), passes, memory, lanes, 32, Type.ID)
        done.append(time.monotonic() < end)


threads = [threading.Thread(target=hash_until_the_end) for _ in os.sched_getaffinity(0)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(done) / seconds)
