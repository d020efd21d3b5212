"""Files of graphs, read back and held against the model they come from."""

import itertools
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from hf_audio_vae import (
    STFTVAE,
    HierarchicalVQVAE,
    SpectrogramVAE,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
    __version__,
)
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.graph_files import ONNX, TORCH, Graph, GraphFormat
from tests.models.hierarchical_vqvae.tiny import model_of as hierarchy
from tests.models.probes import seeded

VAE = {"encoder_hidden_size": 4, "channel_multiples": (1,), "decoder_channels": 4, "decoder_input_channels": 3}
CODEC = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "hidden_size": 6, "num_codebooks": 2, "codebook_size": 8}
CODEC |= {"codebook_dim": 2, "residual_dilations": (1,), "sampling_rate": 8000}
LEVELS = {"downsampling_counts": (1, 1), "strides": (3, 2), "level_multipliers": (1, 1), "depth": 1}


def vae(stride: int, **changes: Any) -> WaveformVAE:
    return WaveformVAE(**VAE, downsampling_ratios=(stride,), sampling_rate=8000, **changes)


def codec(**changes: Any) -> WaveformVQVAE:
    return WaveformVQVAE(WaveformVQVAEConfig(**{**CODEC, **changes}))


SCALAR = {"fsq_levels": (15, 9), "num_codebooks": 1, "codebook_size": 135}
STATISTICS = {"latents_mean": (0.0, 1.0, 2.0), "latents_std": (1.0, 2.0, 3.0)}
CASES = {
    "vae": (lambda: vae(3, **STATISTICS), ONNX, 2),
    "causal vae": (lambda: vae(2, causal=True), TORCH, 2),
    "loud mirrored codec": (lambda: codec(downsampling_ratios=(2,), normalize=True, pad_mode="reflect"), ONNX, 4),
    "causal codec without codebooks": (lambda: codec(downsampling_ratios=(3,), causal=True, **SCALAR), ONNX, 2),
    "levels": (lambda: hierarchy(**LEVELS), ONNX, 2),
    "joint levels": (lambda: hierarchy(**LEVELS, joint_decoding=True, shared_encoder=True), TORCH, 2),
}


SLOW = {case: pytest.mark.slow for case in CASES if case != "vae"}


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
    if isinstance(model, WaveformVQVAE) and model.config.fsq_levels:
        model.quantizer.in_proj.weight_g.data.fill_(5)  # so that small latents take many of the codes
    return model


@pytest.fixture(scope="module", params=[pytest.param(case, marks=SLOW.get(case, ())) for case in CASES])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = random_model(request.param)
    model.enable_tiling(1)  # a graph has no tiles
    if request.param == "causal vae":
        model.fuse()  # nor kernels of ours
    weights = model_fingerprint(model)
    _, file_format, shortest = CASES[request.param]
    folder = tmp_path_factory.mktemp("exported") / "new"
    differences = export_model(model, folder, file_format=file_format)
    assert sorted(folder.iterdir()) == sorted(differences)
    assert all(0 <= value < 1e-5 for outputs in differences.values() for value in outputs.values())
    files = {path.stem: path for path in differences}
    runs = {name: file_format.load(path) for name, path in files.items()}
    metadata: Any = {name: file_format.read_metadata(path) for name, path in files.items()}
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


def test_files_say_what_their_caller_has_to_know(exported):
    model, shortest = exported.model, exported.shortest
    facts = {
        "model_class": type(model).__name__,
        "weights": exported.weights,
        "hf_audio_vae_version": __version__,
        "sampling_rate": model.sampling_rate,
        "audio_channels": model.config.audio_channels,
        "waveform_range": [-1, 1],
        "hop_length": model.hop_length,
        "min_frames": shortest,
        "min_time": (shortest - 1) * model.hop_length + 1,
    }
    if isinstance(model, WaveformVAE):
        statistics = STATISTICS if model.config.latents_mean else dict.fromkeys(STATISTICS)
        facts |= {"latent_channels": 3} | {name: values and list(values) for name, values in statistics.items()}
    else:
        facts["codebook_sizes"] = list(model.codebook_sizes)
    if isinstance(model, HierarchicalVQVAE):
        facts["hop_lengths"] = [3, 6]
    for metadata in exported.metadata.values():
        assert {name: metadata[name] for name in facts} == facts


def signal(*shape: object, dtype: str = "float32") -> dict[str, object]:
    return {"shape": ["batch", *shape], "dtype": dtype}


def test_files_name_what_goes_in_and_comes_out(exported):
    model, decoders = exported.model, {name: exported.metadata[name] for name in exported.files.keys() - {"encoder"}}
    channels, hop = model.config.audio_channels, model.hop_length
    if isinstance(model, WaveformVAE):
        coded = {"latents": signal(3, "frames")}
    elif isinstance(model, WaveformVQVAE):
        coded = {"codes": signal(model.num_codebooks, "frames", dtype="int64")}
        coded |= {"scales": signal(1)} if model.config.normalize else {}
    else:
        coded = {"codes_0": signal(1, "2 * frames", dtype="int64"), "codes_1": signal(1, "frames", dtype="int64")}
    encoder = exported.metadata["encoder"]
    assert (encoder["inputs"], encoder["outputs"]) == ({"waveform": signal(channels, "time")}, coded)
    if "decoder" in decoders:
        assert decoders["decoder"]["inputs"] == coded
        assert decoders["decoder"]["outputs"] == {"waveform": signal(channels, f"{hop} * frames")}
        return
    for level, level_hop in enumerate(model.hop_lengths):  # each counts in its own frames, and says so
        decoder = decoders[f"decoder_{level}"]
        assert decoder["inputs"] == {f"codes_{level}": signal(1, "frames", dtype="int64")}
        assert decoder["outputs"] == {"waveform": signal(channels, f"{level_hop} * frames")}
        assert (decoder["level"], decoder["level_hop_length"]) == (level, level_hop)
        assert "`frames` counts frames of this `level`" in decoder["description"]


def test_files_describe_what_their_shapes_do_not_show(exported):
    encoder = exported.metadata["encoder"]["description"]
    decoders = [exported.metadata[name]["description"] for name in exported.files.keys() - {"encoder"}]
    assert "ceil(time / hop_length)" in encoder
    assert ("mean of the posterior" in encoder) == isinstance(exported.model, WaveformVAE)
    for description in decoders:
        told = "undo a normalisation" if isinstance(exported.model, WaveformVAE) else "less than the size of their"
        assert told in description
        assert ("multiplied by `scales`" in description) == ("scales" in exported.metadata["encoder"]["outputs"])
        assert ("root mean square" in encoder) == ("scales" in exported.metadata["encoder"]["outputs"])


def test_a_file_tells_nothing_of_the_machine_it_was_made_on(exported):
    source = str(Path(__file__).parents[2]).encode()
    for path in exported.files.values():
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        assert not any(source in content for content in contents)


def test_the_exported_model_stays_as_it_was(exported):
    assert model_fingerprint(exported.model) == exported.weights
    assert exported.model.use_tiling


def held(change: Callable[[Tensor, int], Tensor]) -> GraphFormat:
    """Keep programs in memory, and change what a program's run, counted from 0, gives."""
    programs: dict[Path, Callable[..., tuple[Tensor, ...]]] = {}

    def write(graph: Graph, path: Path) -> None:
        programs[path] = graph.program.module()
        path.write_bytes(b"newer")

    def load(path: Path) -> Callable[..., tuple[Tensor, ...]]:
        runs = itertools.count()
        return lambda *inputs: tuple(change(output, next(runs)) for output in programs[path](*inputs))

    return replace(TORCH, write=write, load=load)


@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda x, run: 1.001 * x, "1.0e-03"), (lambda x, run: x if run == 0 else torch.nan * x, "nan")],
)
def test_a_file_that_computes_something_else_is_refused_and_leaves_what_was_there(tmp_path, change, told):
    (tmp_path / "encoder.pt2").write_bytes(b"older")
    with pytest.raises(ValueError, match=f"encoder.pt2 differs from the model by {told} in its latents"):
        export_model(vae(2), tmp_path, file_format=held(change), overwrite=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"older"]


@pytest.mark.slow
def test_silence_is_no_difference(tmp_path):
    model = vae(2)
    model.decoder.conv2.weight_g.data.zero_()
    (tmp_path / "decoder.pt2").write_bytes(b"older")
    differences = export_model(model, tmp_path, file_format=held(lambda x, run: x), overwrite=True)
    assert differences[tmp_path / "decoder.pt2"] == {"waveform": 0}
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"newer"}


MEL = {"mel_bins": 8, "block_out_channels": (4, 4), "layers_per_block": 1, "window_length": 64, "sampling_rate": 8000}
SINGLE_CHANNEL: dict[str, Callable[[], Any]] = {
    "STFT": lambda: STFTVAE((16, 2), (4, 4), (1, 1), 1, window_length=64),
    "segments": lambda: SpectrogramVAE("mel", "classic", (16, 2), (2, 2), **MEL, latent_channels=1, num_frames=4),
    "attention": lambda: SpectrogramVAE(
        "mel", "magnitude_preserving", (16, 2), (1, 1), **MEL, latent_channels=1, mid_block_add_attention=True
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SINGLE_CHANNEL)
@torch.no_grad()
def test_a_single_latent_channel_is_exported_for_any_length(case: str, tmp_path: Path) -> None:
    model = SINGLE_CHANNEL[case]().eval()
    encoder, decoder = (TORCH.load(path) for path in export_model(model, tmp_path, file_format=TORCH))
    for batch, frames in ((1, 2), (3, 17)):
        x = waveform(model, batch, frames * model.hop_length - 1)
        latents = model.encode(x).latent_dist.mean
        torch.testing.assert_close(encoder(x)[0], latents, rtol=0, atol=2e-5)
        assert decoder(latents)[0].shape[0] == batch


def test_an_lstm_is_refused(tmp_path):
    with pytest.raises(ValueError, match="torch.export fixes the length of an LSTM"):
        export_model(codec(downsampling_ratios=(2,), num_lstm_layers=1), tmp_path, file_format=ONNX)
