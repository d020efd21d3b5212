from contextlib import suppress

import psutil
import pytest
import torch

from hf_audio_vae.runtime.allocator import keep_freed_memory

# The models here are so small that threads would spend their time waiting for each other.
torch.set_num_threads(1)
keep_freed_memory()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Kill processes that a test left behind after its time was up: Python would wait for them for ever."""
    if not getattr(session.config.option, "numprocesses", None):  # not where pytest-xdist started the workers
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "resource_tracker" not in " ".join(process.cmdline()):  # Python's own, which ends with this process
                    process.kill()
