from collections.abc import Callable
from pathlib import Path

import pytest

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.data import CodesRecord, read_record
from hf_audio_vae.discriminators.ensemble import load_discriminators
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.tokens import load_tokens


@pytest.mark.parametrize(
    "load",
    [
        lambda folder, revision: load_autoencoder(folder, revision=revision),
        lambda folder, revision: AudioLatentDiffusionPipeline.from_pretrained(folder, revision=revision),
        lambda folder, revision: load_tokens(folder, revision=revision),
        load_discriminators,
        read_record,
        CodesRecord.read,
    ],
    ids=["autoencoder", "pipeline", "tokens", "discriminators", "latents", "codes"],
)
def test_a_folder_has_no_revisions(load: Callable[[Path, str], object], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`revision` 'abc' has no effect on the local folder .*; leave it out"):
        load(tmp_path, "abc")
