"""Progress bars of the scripts."""

import sys
from typing import Any

from accelerate import Accelerator
from tqdm.auto import tqdm


def progress_bar(accelerator: Accelerator, **options: Any) -> tqdm:
    """Return a progress bar of the main process.

    It is updated twice a second on a terminal, and every 30 s in a file, which keeps all updates.
    """
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(disable=not accelerator.is_main_process, mininterval=interval, **options)
