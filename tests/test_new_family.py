"""A family that only this file knows: its layers are enough for all that the package does with a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin
from torch import nn

from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import FAMILIES, VariationalAutoencoderMixin, load_autoencoder
from hf_audio_vae.models.inputs import check_sizes
from hf_audio_vae.models.normalization import check_statistics
from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock
from hf_audio_vae.modules.stack import CheckpointedStack
from tests.models.contract import AutoencoderContract
from tests.models.probes import assert_equal_within_rounding
from tests.training.runs import RECIPE, REPO, SCRIPT, run_here

SPEECH = REPO / "data/held_out/speech_en_0890.flac"


class ToyEncoder(CheckpointedStack):
    def __init__(self, audio_channels: int, latent_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = WeightNormConv1d(audio_channels, 16, 3)
        self.block = EncoderBlock(16, 2 * latent_channels, stride=stride, causal=False)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.conv, self.block


class ToyDecoder(CheckpointedStack):
    def __init__(self, audio_channels: int, latent_channels: int, stride: int) -> None:
        super().__init__()
        self.block = DecoderBlock(latent_channels, 16, stride=stride, causal=False)
        self.conv = WeightNormConv1d(16, audio_channels, 3)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.block, self.conv


class ToyVAE(VariationalAutoencoderMixin, ModelMixin, AutoencoderMixin, ConfigMixin):
    _supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderBlock", "DecoderBlock"]

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 3,
        stride: int = 5,
        audio_channels: int = 1,
        sampling_rate: int = 8000,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        sizes = {"latent_channels": latent_channels, "stride": stride, "audio_channels": audio_channels}
        check_sizes(**sizes, sampling_rate=sampling_rate)
        check_statistics(latents_mean, latents_std, latent_channels)
        self.encoder = ToyEncoder(audio_channels, latent_channels, stride)
        self.decoder = ToyDecoder(audio_channels, latent_channels, stride)
        self.coder = self.new_coder()

    @property
    def hop_length(self) -> int:
        return self.config.stride

    @property
    def latent_channels(self) -> int:
        return self.config.latent_channels


class TestToyVAE(AutoencoderContract):
    model_class = ToyVAE
    config = {
        "latent_channels": 3,
        "stride": 5,
        "audio_channels": 2,
        "sampling_rate": 8000,
        "latents_mean": (0.5, -1.0, 2.0),
        "latents_std": (1.0, 2.0, 0.5),
    }
    other_values = {
        "latent_channels": 2,
        "stride": 3,
        "audio_channels": 1,
        "sampling_rate": 16000,
        "latents_mean": (1.0, 2.0, 3.0),
        "latents_std": (1.0, 2.0, 3.0),
    }
    changes_with = {"latent_channels": {"latents_mean": None, "latents_std": None}}


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(FAMILIES, "ToyVAE", ToyVAE)
        yield


@pytest.fixture(scope="module")
def trained(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of the training script."""
    folder = tmp_path_factory.mktemp("toy")
    recipe = RECIPE | {"family": "ToyVAE", "model": {"latent_channels": 3}, "max_train_steps": 3}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    arguments = ["--config", str(folder / "recipe.yaml"), "--output_dir", str(folder / "model")]
    ran = run_here(SCRIPT, [*arguments, "--gradient_checkpointing", "true"])
    assert ran.returncode == 0, ran.stderr
    return folder / "model"


@pytest.fixture
def model(trained: Path) -> Any:
    return load_autoencoder(trained).eval()


def test_the_script_publishes_the_family(trained: Path, model: Any) -> None:
    assert type(model) is ToyVAE
    assert "ToyVAE" in (trained / "README.md").read_text()
    assert yaml.safe_load((trained / "recipe.yaml").read_text())["family"] == "ToyVAE"


@pytest.mark.parametrize("verb", ["reconstruct", "stream"])
def test_verbs_code_files(verb: str, trained: Path, tmp_path: Path) -> None:
    assert main([verb, str(SPEECH), "--model", str(trained), "--output_dir", str(tmp_path)]) == 0
    written, rate = read_audio(next(tmp_path.glob(f"*.{'reconstruction' if verb == 'reconstruct' else verb}.wav")))
    assert rate == 8000
    assert written.abs().max() > 0


@torch.no_grad()
def test_a_file_is_encoded_and_decoded(model: Any, trained: Path, tmp_path: Path) -> None:
    exact = ["--latents_dtype", "float32", "--output_dir", str(tmp_path)]
    assert main(["encode", str(SPEECH), "--model", str(trained), *exact]) == 0
    encoded = tmp_path / "speech_en_0890.safetensors"
    assert main(["decode", str(encoded), "--output_dir", str(tmp_path)]) == 0
    assert main(["reconstruct", str(SPEECH), "--model", str(trained), "--output_dir", str(tmp_path)]) == 0
    decoded, reconstructed = (
        read_audio(tmp_path / f"speech_en_0890.{end}")[0] for end in ("wav", "reconstruction.wav")
    )
    torch.testing.assert_close(decoded, reconstructed, rtol=0, atol=1e-4 * float(reconstructed.abs().max()))


@pytest.mark.parametrize("verb", [("evaluate", "--model"), ("inspect",)])
def test_verbs_measure_it(verb: tuple[str, ...], trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = ["--dataset_name", str(REPO / "data/held_out"), "--max_seconds", "0.2"]
    assert main([*verb, str(trained), *dataset]) == 0
    assert "active channels" in capsys.readouterr().out


@pytest.mark.slow
def test_it_is_exported(trained: Path, tmp_path: Path) -> None:
    assert main(["export", str(trained), "--output_dir", str(tmp_path), "--format", "torch"]) == 0
    decoder = torch.export.load(tmp_path / "decoder.pt2").module()
    latents = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_equal_within_rounding(decoder(latents)[0], load_autoencoder(trained).decode(latents).sample, 1000)


@torch.no_grad()
def test_tiled_and_fused_it_gives_the_same(model: Any) -> None:
    x = torch.randn(2, 1, 5000, generator=torch.Generator().manual_seed(0))
    expected = model(x).sample
    model.enable_tiling(20)
    assert_equal_within_rounding(model(x).sample, expected)
    model.fuse()
    torch.testing.assert_close(model(x).sample, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@torch.no_grad()
def test_streamed_it_gives_the_same(model: Any) -> None:
    x = torch.randn(1, 1, 1003, generator=torch.Generator().manual_seed(0))
    expected = model.encode(x).latent_dist.mean
    encoder = model.streaming().encoder
    pieces = [*(encoder.push(piece).mean for piece in x.split(100, dim=-1)), encoder.flush().mean]
    assert_equal_within_rounding(torch.cat(pieces, dim=-1), expected)


def test_a_family_that_leaves_out_a_member_is_refused_when_it_is_made() -> None:
    class Incomplete(VariationalAutoencoderMixin, ModelMixin, ConfigMixin):
        pass

    with pytest.raises(TypeError, match="abstract.*hop_length.*latent_channels"):
        Incomplete()
