"""The folder in which `datasets` keeps its files, also of data that is streamed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets

from hf_audio_vae.files.folders import check_folder_writable


@contextmanager
def cache_is_named() -> Iterator[None]:
    """Name the variables to set, if a file cannot be opened since the folder of `datasets` cannot be written.

    Raises:
        OSError: The folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        folder = Path(datasets.config.HF_DATASETS_CACHE).expanduser()
        try:
            check_folder_writable(folder)
        except OSError as cause:
            if error.filename is not None:  # other errors, such as those of the Hub, say more
                raise OSError(
                    f"`datasets` keeps its files in {folder}, which cannot be written "
                    f"({cause.strerror or cause}); set HF_HOME or HF_DATASETS_CACHE to a folder that can be written."
                ) from error
        raise
