import subprocess
from pathlib import Path

import pytest

from hf_audio_vae.files import check_manifest, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ä/b").mkdir(parents=True)
    (tmp_path / "ä/b/weights").write_bytes(bytes(range(256)))
    (tmp_path / "state").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path


def test_sha256sum_accepts_the_manifest(folder: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    check_manifest(folder)
    (folder / "other").touch()
    check_manifest(folder)


@pytest.mark.parametrize("position", [0, 100, 255])
def test_one_flipped_bit_is_named(folder: Path, position: int) -> None:
    content = bytearray((folder / "ä/b/weights").read_bytes())
    content[position] ^= 4
    (folder / "ä/b/weights").write_bytes(content)
    with pytest.raises(ValueError, match="ä/b/weights is damaged"):
        check_manifest(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "state").unlink()
    with pytest.raises(ValueError, match="state does not exist, but SHA256SUMS lists it"):
        check_manifest(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ValueError, match="SHA256SUMS does not exist"):
        check_manifest(folder)
