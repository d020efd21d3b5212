"""The memory allocator of the process: freed memory stays, since the next layer needs it again."""

import ctypes
import os

# Parameters of mallopt(3), in /usr/include/malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
PAD_BYTES = 1 << 28


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory instead of giving it back to the system after every layer.

    Without this, a training step on a CPU spends much of its time in page faults. Settings of the environment
    (`MALLOC_*_`, `GLIBC_TUNABLES`) take precedence.

    Returns:
        `bool`: Whether the settings were changed; other C libraries have none.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # TypeError: Windows has no `None`
        return False
    # No trimming of the heap, no mappings of single blocks.
    return all([mallopt(TRIM_THRESHOLD, -1), mallopt(MMAP_MAX, 0), mallopt(TOP_PAD, PAD_BYTES)])
