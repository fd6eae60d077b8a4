"""Makes the C library give the memory of large blocks back to the system as soon as they are freed.

By default, glibc raises the size from which a block is its own mapping to that of the largest one freed, up to 32 MB.
Blocks of mails below that are then cut from heaps, of which each thread may have one, and which rarely shrink: a
process kept several times the memory of its mails. https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
#: From this size in bytes on, a block is its own mapping.
_LARGE = 256 * 1024
#: Heaps of the process. The interpreter's lock lets one thread allocate at a time, except in native code.
_HEAPS = 2


def return_large_blocks() -> None:
    """Change the settings of this process's allocator; without effect if the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_ARENA_MAX, _HEAPS)
