import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.models import load_autoencoder
from tests.hub import mock_hub

LOAD = """
import sys
from hf_audio_vae.models import load_autoencoder
for place in sys.argv[1:]:
    name, _, subfolder = place.partition("#")
    try:
        print(place, "OK", type(load_autoencoder(name, subfolder=subfolder or None)).__name__)
    except (ValueError, OSError) as error:
        print(place, type(error).__name__, " ".join(str(error).split()))
"""
CODEC = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (2, 5), "hidden_size": 16}


def models() -> dict[str, torch.nn.Module]:
    codec = WaveformVQVAEConfig(**CODEC, num_codebooks=2, codebook_size=8)
    return {"vae": WaveformVAE(8, (2, 5), (1, 2), 8, 4, 1, 16000), "codec": WaveformVQVAE(codec)}


@pytest.mark.slow
def test_models_of_the_hub_are_checked_as_folders_are(tmp_path: Path) -> None:
    with mock_hub() as hub:
        for kind, model in models().items():
            whole, sharded, lacking, nested, pickled = (
                tmp_path / f"{kind}-{name}" for name in ("whole", "sharded", "lacking", "nested", "pickled")
            )
            model.save_pretrained(whole)
            model.save_pretrained(sharded, max_shard_size="5KB")
            model.save_pretrained(nested / "vae")
            model.save_pretrained(lacking, max_shard_size="5KB")
            file = sorted(lacking.glob("*.safetensors"))[-1]
            weights = load_file(file)
            save_file({"other": weights.pop(next(iter(weights)))} | weights, file, metadata={"format": "pt"})
            model.save_pretrained(pickled)
            next(pickled.glob("*.safetensors")).unlink()
            for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
                torch.save(model.state_dict(), pickled / name)
            for folder in (whole, sharded, lacking, nested, pickled):
                hub.add(f"someone/{folder.name}", folder)
        kinds = ("vae", "codec")
        names = ("whole", "sharded", "nested#vae", "lacking", "pickled", "none")
        places = [f"someone/{kind}-{name}" for kind in kinds for name in names]
        environment = os.environ | hub.environment(tmp_path / "home")
        finished = subprocess.run(
            [sys.executable, "-c", LOAD, *places], env=environment, capture_output=True, text=True, timeout=300
        )
        assert finished.returncode == 0, finished.stderr
    results = dict(line.split(" ", 1) for line in finished.stdout.splitlines())
    for kind in kinds:
        for name in ("whole", "sharded", "nested#vae"):
            assert results[f"someone/{kind}-{name}"].startswith("OK Waveform")
        assert "1 missing" in results[f"someone/{kind}-lacking"]
        assert results[f"someone/{kind}-pickled"].startswith("OSError")
        assert results[f"someone/{kind}-none"].startswith("FileNotFoundError there is no folder")


def test_a_key_that_a_configuration_has_twice_is_named(tmp_path: Path) -> None:
    WaveformVAE(4, (2,), (1,), 4, 2, 1, 16000).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("{", '{"sampling_rate": 8000,', 1))
    for load in (WaveformVAE.from_pretrained, load_autoencoder):
        with pytest.raises(ValueError, match="config.json is ambiguous: the key sampling_rate is there twice"):
            load(tmp_path)
