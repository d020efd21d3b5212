"""Progress bars on terminals and in files."""

import io
import itertools
import sys

import pytest
from accelerate import Accelerator

from hf_audio_vae.training.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "updates"), [(Terminal, range(30, 300)), (io.StringIO, range(2, 7))])
def test_a_file_gets_an_update_each_half_minute(
    stream: type[io.StringIO], updates: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    seconds = itertools.count(0, 0.1)
    with progress_bar(Accelerator(cpu=True), total=1000, unit="step") as bar:
        bar._time, bar.last_print_t, bar.start_t = lambda: next(seconds), 0.0, 0.0
        for _ in range(1000):
            bar.update()
    assert sys.stderr.getvalue().count("step") in updates
