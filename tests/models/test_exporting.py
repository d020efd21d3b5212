"""Files of graphs, read back and held against the model they come from."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from hf_audio_vae import HierarchicalVQVAE, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig, __version__
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.models.graph_files import ONNX, TORCH
from tests.models.hierarchical_vqvae.tiny import model_of as hierarchy
from tests.models.probes import seeded

VAE = {"encoder_hidden_size": 4, "channel_multiples": (1,), "decoder_channels": 4, "decoder_input_channels": 3}
CODEC = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "hidden_size": 6, "num_codebooks": 2, "codebook_size": 8}
CODEC |= {"codebook_dim": 2, "residual_dilations": (1, 3), "sampling_rate": 8000}
LEVELS = {"downsampling_counts": (1, 1), "strides": (3, 2), "level_multipliers": (1, 1), "depth": 1}


def vae(stride: int, **changes: Any) -> WaveformVAE:
    return WaveformVAE(**VAE, downsampling_ratios=(stride,), sampling_rate=8000, **changes)


def codec(**changes: Any) -> WaveformVQVAE:
    return WaveformVQVAE(WaveformVQVAEConfig(**CODEC, **changes))


STATISTICS = {"latents_mean": (0.0, 1.0, 2.0), "latents_std": (1.0, 2.0, 3.0)}
CASES = {
    "vae": (lambda: vae(3, **STATISTICS), ONNX, 2),
    "causal vae": (lambda: vae(2, causal=True), TORCH, 2),
    "loud mirrored codec": (lambda: codec(downsampling_ratios=(2,), normalize=True, pad_mode="reflect"), ONNX, 10),
    "causal codec": (lambda: codec(downsampling_ratios=(3,), causal=True), TORCH, 2),
    "levels": (lambda: hierarchy(**LEVELS), ONNX, 2),
    "joint levels": (lambda: hierarchy(**LEVELS, joint_decoding=True, shared_encoder=True), TORCH, 2),
}


class Exported(NamedTuple):
    """A model, its fingerprint before that; by the names of the files what runs them and what they say."""

    model: Any
    weights: str
    runs: dict[str, Callable[..., tuple[Tensor, ...]]]
    files: dict[str, Path]
    metadata: dict[str, dict[str, Any]]
    shortest: int


def random_model(case: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CASES[case][0]().eval()
    generator = seeded()
    if not isinstance(model, HierarchicalVQVAE):
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module", params=CASES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = random_model(request.param)
    model.enable_tiling(1)  # a graph has no tiles
    if request.param == "causal vae":
        model.fuse()  # nor kernels of ours
    weights = weights_fingerprint(model)
    _, file_format, shortest = CASES[request.param]
    differences = export_model(model, tmp_path_factory.mktemp("exported") / "new", file_format)
    assert all(0 <= value < 1e-5 for outputs in differences.values() for value in outputs.values())
    files = {path.stem: path for path in differences}
    runs = {name: file_format.load(path) for name, path in files.items()}
    metadata: Any = {name: file_format.metadata(path) for name, path in files.items()}
    return Exported(model, weights, runs, files, metadata, shortest)


def waveform(model: Any, batch: int, time: int) -> Tensor:
    return 0.3 * torch.randn(batch, model.config.audio_channels, time, generator=seeded())


def encoded(model: Any, x: Tensor) -> tuple[Tensor, ...]:
    output = model.encode(x)
    if isinstance(model, WaveformVAE):
        return (output.latent_dist.mean,)
    return output.audio_codes if isinstance(model, HierarchicalVQVAE) else output.to_tuple()


def decoded(model: Any, name: str, parts: tuple[Tensor, ...]) -> Tensor:
    if isinstance(model, WaveformVAE):
        return model.decode(*parts).sample
    if isinstance(model, HierarchicalVQVAE):
        level = int(name.removeprefix("decoder_")) if "_" in name else None
        return model.decode(parts, level=level).audio_values
    return model.decode(parts[0], audio_scales=parts[1] if len(parts) > 1 else None).audio_values


@torch.no_grad()
def test_files_give_the_models_result_in_every_batch_and_at_every_length(exported):
    model, hop = exported.model, exported.model.hop_length
    for batch, time in ((1, (exported.shortest - 1) * hop + 1), (3, 40 * hop - 1), (2, 64 * hop)):
        expected = encoded(model, waveform(model, batch, time))
        actual = exported.runs["encoder"](waveform(model, batch, time))
        for ours, theirs in zip(actual, expected, strict=True):
            if theirs.dtype == torch.int64:
                assert batch == 1 or theirs.unique().numel() > 1
                assert (ours != theirs).double().mean() <= 0.05
            else:
                torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        for name in exported.files.keys() - {"encoder"}:
            inputs = exported.metadata[name]["inputs"]
            taken = expected if len(inputs) == len(expected) else (expected[int(name[-1])],)
            (sound,) = exported.runs[name](*taken)
            torch.testing.assert_close(sound, decoded(model, name, expected), rtol=0, atol=2e-5)


def test_a_file_says_what_its_caller_has_to_know(exported):
    model, metadata = exported.model, exported.metadata["encoder"]
    assert metadata["model_class"] == type(model).__name__
    assert metadata["weights"] == exported.weights
    assert metadata["hf_audio_vae_version"] == __version__
    assert metadata["sampling_rate"] == model.sampling_rate
    assert metadata["audio_channels"] == model.config.audio_channels
    assert metadata["waveform_range"] == [-1, 1]
    assert metadata["hop_length"] == model.hop_length
    assert metadata["min_frames"] == exported.shortest
    assert metadata["min_time"] == (exported.shortest - 1) * model.hop_length + 1
    shape = ["batch", model.config.audio_channels, "time"]
    assert metadata["inputs"] == {"waveform": {"shape": shape, "dtype": "float32"}}
    assert "ceil(time / hop_length)" in metadata["description"]
    if isinstance(model, WaveformVAE):
        assert metadata["latent_channels"] == 3
        assert metadata["outputs"] == {"latents": {"shape": ["batch", 3, "frames"], "dtype": "float32"}}
        statistics = STATISTICS if model.config.latents_mean else dict.fromkeys(STATISTICS)
        assert {name: metadata[name] and tuple(metadata[name]) for name in STATISTICS} == statistics
        assert "mean of the posterior" in metadata["description"]
        return
    assert metadata["codebook_sizes"] == list(model.codebook_sizes)
    if isinstance(model, WaveformVQVAE):
        assert metadata["outputs"]["codes"] == {"shape": ["batch", 2, "frames"], "dtype": "int64"}
        assert ("scales" in metadata["outputs"]) == model.config.normalize
    else:
        assert metadata["hop_lengths"] == [3, 6]
        assert metadata["outputs"]["codes_0"] == {"shape": ["batch", 1, "2 * frames"], "dtype": "int64"}


def test_a_file_tells_nothing_of_the_machine_it_was_made_on(exported):
    source = str(Path(__file__).parents[2]).encode()
    for path in exported.files.values():
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        assert not any(source in content for content in contents)


def test_the_exported_model_stays_as_it_was(exported):
    assert weights_fingerprint(exported.model) == exported.weights
    assert exported.model.use_tiling


def test_a_file_that_computes_something_else_is_refused(tmp_path):
    def load(path: Path) -> Any:
        run = TORCH.load(path)
        return lambda *inputs: tuple(1.001 * output for output in run(*inputs))

    with pytest.raises(ValueError, match=r"encoder.pt2 differs from the model by 1.0e-03 in its latents"):
        export_model(vae(2), tmp_path, replace(TORCH, load=load))


def test_an_lstm_is_refused(tmp_path):
    with pytest.raises(ValueError, match="`num_lstm_layers` is 1, and torch.export ties an LSTM to the one length"):
        export_model(codec(downsampling_ratios=(2,), num_lstm_layers=1), tmp_path, ONNX)
