from pathlib import Path

import pytest

from tests.data.sounds import encoded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty-three files; file `i` holds the value i / 100."""
    path = tmp_path / "folder"
    path.mkdir()
    for i in range(23):
        (path / f"{i:02d}.wav").write_bytes(encoded(i / 100))
    return path
