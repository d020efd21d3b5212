"""End a run at SIGINT or SIGTERM between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run after a checkpoint.

    Args:
        number (`signal.Signals`): The signal.
        message (`str`): Step, and how to continue.
    """

    def __init__(self, number: signal.Signals, message: str) -> None:
        super().__init__(message)
        self.number = number


class _Aborted(BaseException):
    """Leaves a block that need not be finished."""


class StopSignals:
    """Records SIGINT and SIGTERM within a `with` block instead of ending the process.

    A second SIGINT raises `KeyboardInterrupt` at once. Batch systems may send SIGTERM several times.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._abortable = False

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # no other thread gets signals
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in getattr(self, "_before", {}).items():
            signal.signal(number, handler)

    @contextmanager
    def aborting(self) -> Iterator[None]:
        """Leave the block at a signal, without an error."""
        self._abortable = True
        try:
            yield
        except _Aborted:
            pass
        finally:
            self._abortable = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        if self._abortable:
            self._abortable = False
            raise _Aborted
