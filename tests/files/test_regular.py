import builtins
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import read_audio
from hf_audio_vae.latents import load_latents
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools import _read_checkpoint


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("diffusion_pytorch_model.safetensors", lambda path: load_autoencoder(path.parent)),
        ("model.safetensors", _read_checkpoint),
        ("sound.safetensors", load_latents),
        ("sound.wav", read_audio),
    ],
)
def test_a_file_that_may_not_be_read_is_not_called_missing(
    name: str, load: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, 8000).save_pretrained(tmp_path)
    if not (path := tmp_path / name).exists():
        save_file({"weight": torch.ones(1)}, path)
    refuse(path, monkeypatch)
    with pytest.raises(
        PermissionError, match=rf"{name} may not be read \(Permission denied\); change its permissions"
    ):
        load(path)


def refuse(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no process read a file; the permissions of files do not hold for root, who may run the tests."""
    opened = builtins.open

    def refusing(file: object, *arguments: object, **options: object) -> object:
        if isinstance(file, str | Path) and Path(file) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return opened(file, *arguments, **options)

    monkeypatch.setattr(builtins, "open", refusing)
    os.chmod(path, 0)
