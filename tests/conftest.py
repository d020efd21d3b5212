import psutil
import pytest
import torch

# The models here are so small that threads would spend their time waiting for each other.
torch.set_num_threads(1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Kill processes that a test left behind after its time was up: Python would wait for them for ever."""
    if not getattr(session.config.option, "numprocesses", None):  # not where pytest-xdist started the workers
        for process in psutil.Process().children(recursive=True):
            process.kill()
