"""How this process asks for memory while it trains on a processor."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGE = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next step; return whether it does.

    A training step asks for the same large blocks again and again. By itself glibc hands each back to the system, which
    clears every page anew: a third of the time of a small picture network. Nothing happens with other C libraries.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_TRIM_THRESHOLD, _LARGE))
