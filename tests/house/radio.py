"""A bad radio between a machine and the switch: frames come late, and some never, in user space.

The kernel's own (tc-netem(8)) is not in every kernel. Started as: radio.py SPACE SWITCH CABLE DELAY_S LOSS
"""

import ctypes
import fcntl
import os
import random
import selectors
import struct
import sys
import time
from collections import deque
from pathlib import Path

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
"""linux/if_tun.h"""
LONGEST_FRAME = 65536


def tap(space: str, name: str) -> int:
    """A network card of a namespace, whose other end is this process."""
    with Path(f"/run/netns/{space}").open() as there:
        if ctypes.CDLL(None, use_errno=True).setns(there.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"no way into {space}")
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return handle


def carry(ends: tuple[int, int], delay_s: float, loss: float) -> None:
    """Carry frames both ways; never returns."""
    chance, waiting = random.Random(1), deque[tuple[float, int, bytes]]()
    with selectors.DefaultSelector() as ready:
        for end, other in (ends, ends[::-1]):
            ready.register(end, selectors.EVENT_READ, other)
        while True:
            left_s = None if not waiting else max(waiting[0][0] - time.monotonic(), 0.0)
            for key, _ in ready.select(left_s):
                frame = os.read(key.fd, LONGEST_FRAME)
                if chance.random() >= loss:
                    waiting.append((time.monotonic() + delay_s, key.data, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, end, frame = waiting.popleft()
                try:
                    os.write(end, frame)
                except OSError:  # the other card is down
                    continue


if __name__ == "__main__":
    space, switch, cable, delay_s, loss = sys.argv[1:]
    both = tap(space, "eth0"), tap(switch, cable)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    carry(both, float(delay_s), float(loss))
