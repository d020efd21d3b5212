"""Encoder and decoder as graphs that run without this package, in batches of any size and at any length.

A graph is traced from a copy in float32, weight norm folded, and holds no checks: a caller keeps NaN, infinity and
what is no code away from it. It is as exact as the model, so its memory grows with the length: there are no chunks.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hf_audio_vae.models import AutoencoderModel, HierarchicalVQVAE, WaveformVAE, WaveformVQVAE
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.models.fusing import FusedMixin
from hf_audio_vae.models.graph_files import Graph, GraphFormat
from hf_audio_vae.modules.convolution import fold_weight_norm

# Sums in another order differ by some 1e-6 of the largest value; a graph that computes something else, by all of it.
TOLERANCE = 1e-4
# That rounding also decides between codes that are equally near but for it; a wrong graph has few codes in common.
OTHER_CODES = 0.05

Graphed = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Signal:
    """What goes into a graph or comes out: (batch, channels, rate * unit), or (batch, channels) without a unit.

    Args:
        channels (`int`): Of audio or latents, or codebooks.
        unit (`str`, *optional*): What is counted: `"time"` or `"frames"`.
        rate (`int`): Values in one of them.
        codebook_sizes (`tuple[int, ...]`, *optional*): Of codes, int64; other signals are float32.
    """

    channels: int
    unit: str | None = None
    rate: int = 1
    codebook_sizes: tuple[int, ...] | None = None

    def described(self) -> dict[str, object]:
        """Shape and type for a reader."""
        dtype = "float32" if self.codebook_sizes is None else "int64"
        length = self.unit if self.rate == 1 else f"{self.rate} * {self.unit}"
        return {"shape": ["batch", self.channels, length][: 3 if self.unit else 2], "dtype": dtype}

    def dynamic(self, dims: Mapping[str, Dim]) -> dict[int, object]:
        """Which dimensions differ from call to call."""
        batch: dict[int, object] = {0: dims["batch"]}
        return batch if self.unit is None else batch | {2: self.rate * dims[self.unit]}

    def drawn(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """Random codes, or numbers that are uniform in [-1, 1]."""
        length = () if self.unit is None else (self.rate * sizes[self.unit],)
        if self.codebook_sizes is None:
            return 2 * torch.rand(sizes["batch"], self.channels, *length, generator=generator) - 1
        shape = (sizes["batch"], *length)
        return torch.stack([torch.randint(n, shape, generator=generator) for n in self.codebook_sizes], dim=1)


class Part(nn.Module):
    """An encoder or a decoder, from tensors to a tuple of tensors.

    Args:
        modules (`list[torch.nn.Module]`): Those whose weights it uses.
        run (`Callable`): What it computes with them.
        inputs (`dict[str, Signal]`): What `run` takes, in order.
        outputs (`dict[str, Signal]`): What it returns, in order.
        description (`str`): What a caller cannot see from these.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        run: Graphed,
        inputs: dict[str, Signal],
        outputs: dict[str, Signal],
        description: str,
    ) -> None:
        super().__init__()
        self.used = nn.ModuleList(modules)
        self.run, self.inputs, self.outputs, self.description = run, inputs, outputs, description

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it."""
        return self.run(*inputs)

    def drawn(self, batch: int, frames: int, hop_length: int) -> tuple[Tensor, ...]:
        """Return random inputs; the last frame of a waveform is not full, if that can be."""
        sizes = {"batch": batch, "frames": frames, "time": frames * hop_length - hop_length // 2}
        generator = torch.Generator().manual_seed(frames)
        return tuple(signal.drawn(sizes, generator) for signal in self.inputs.values())


@torch.no_grad()
def export_model(model: AutoencoderModel, output_dir: Path, file_format: GraphFormat) -> dict[Path, dict[str, float]]:
    """Write a model's encoder and decoder to files, run each and compare it with the model.

    A `WaveformVAE` becomes `encoder`, which gives the posterior's mean, and `decoder`; the latents are not normalised.
    Codecs become an `encoder` to codes and a `decoder`; a hierarchy whose levels are decoded each by itself has a
    decoder for each, `decoder_0` the finest.

    Args:
        model (`AutoencoderModel`): The model; it stays as it is.
        output_dir (`Path`): Folder for the files, made if it is not there.
        file_format (`GraphFormat`): `ONNX` or `TORCH`.

    Returns:
        `dict[Path, dict[str, float]]`: By file and output, how far the file's result is from the model's: the largest
        difference over the largest value, or of codes the share of frames that have others.

    Raises:
        ValueError: The model has an LSTM, or a file computes something else than the model.

    Example:
        >>> import tempfile
        >>> from hf_audio_vae.models.graph_files import TORCH
        >>> model = WaveformVAE(4, (2,), (1,), 4, decoder_input_channels=2, audio_channels=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = export_model(model, Path(folder), TORCH)
        ...     decoder = torch.export.load(Path(folder) / "decoder.pt2").module()
        >>> [path.name for path in files], decoder(torch.zeros(3, 2, 50))[0].shape
        (['encoder.pt2', 'decoder.pt2'], torch.Size([3, 1, 100]))
    """
    frozen = nn.Module.to(copy.deepcopy(model), "cpu", torch.float32).eval()
    frozen.disable_tiling()
    if isinstance(frozen, WaveformVAE):
        frozen.disable_slicing()
    if isinstance(frozen, FusedMixin):
        frozen.unfuse()
    parts, shortest = _parts(frozen), _shortest(frozen)
    probes = {
        name: [part.drawn(batch, frames, model.hop_length) for batch, frames in ((1, shortest), (3, 2 * shortest + 9))]
        for name, part in parts.items()
    }
    # Of the weights as they are in the model: folding is checked as well.
    expected = {name: [part(*inputs) for inputs in probes[name]] for name, part in parts.items()}
    fold_weight_norm(frozen)
    output_dir.mkdir(parents=True, exist_ok=True)
    facts = _facts(model, shortest)
    differences = {}
    for name, part in parts.items():
        path = output_dir / f"{name}{file_format.suffix}"
        file_format.write(_traced(part, shortest, model.hop_length, facts), path)
        run = file_format.load(path)
        results = [run(*inputs) for inputs in probes[name]]
        differences[path] = _differences(path, part.outputs, results, expected[name])
    return differences


def _parts(model: AutoencoderModel) -> dict[str, Part]:
    """Encoder and decoder of a model, by the name of their file."""
    if isinstance(model, WaveformVAE):
        return _vae_parts(model)
    return _codec_parts(model) if isinstance(model, WaveformVQVAE) else _hierarchy_parts(model)


def _vae_parts(model: WaveformVAE) -> dict[str, Part]:
    waveform, latents = _waveform(model), {"latents": Signal(model.latent_channels, "frames")}

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return (model.encode(waveform).latent_dist.mode(),)

    def decode(latents: Tensor) -> tuple[Tensor, ...]:
        return model.decode(latents, return_dict=False)

    mean = "The latents are the mean of the posterior, as the model has them: not normalised by `latents_mean`."
    taken = "Takes latents as the encoder gives them: undo a normalisation by `latents_mean` first."
    return {
        "encoder": Part([model.encoder], encode, waveform, latents, f"{mean} {PADDED}"),
        "decoder": Part([model.decoder], decode, latents, _decoded(model, model.hop_length), taken),
    }


def _codec_parts(model: WaveformVQVAE) -> dict[str, Part]:
    if model.config.num_lstm_layers:
        raise ValueError(
            f"`num_lstm_layers` is {model.config.num_lstm_layers}, and torch.export ties an LSTM to the one length "
            f"that it is traced with; export a model without, or compile this one where it runs."
        )
    coded = {"codes": Signal(model.num_codebooks, "frames", codebook_sizes=model.codebook_sizes)}
    if model.config.normalize:
        coded["scales"] = Signal(1)

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return tuple(model.encode(waveform, return_dict=False))

    def decode(codes: Tensor, scales: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(model.decode(codes, audio_scales=scales, return_dict=False))

    return {
        "encoder": Part([model.encoder, model.quantizer], encode, _waveform(model), coded, PADDED),
        "decoder": Part([model.quantizer, model.decoder], decode, coded, _decoded(model, model.hop_length), CODES),
    }


def _hierarchy_parts(model: HierarchicalVQVAE) -> dict[str, Part]:
    def codes_of(hop_length: int, unit_hop: int) -> Signal:
        size = model.config.codebook_size
        return Signal(1, "frames", unit_hop // hop_length, codebook_sizes=(size,))

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        levels: Any = model.encode(waveform, return_dict=False)[0]
        return levels

    def decoder(level: int | None) -> Part:
        def decode(*codes: Tensor) -> tuple[Tensor, ...]:
            return tuple(model.decode(codes if level is None else codes[0], level=level, return_dict=False))

        hop = model.hop_length if level is None else model.hop_lengths[level]
        taken = coded if level is None else {f"codes_{level}": codes_of(hop, hop)}
        return Part([model.quantizers, model.decoders], decode, taken, _decoded(model, hop), CODES)

    coded = {f"codes_{i}": codes_of(hop, model.hop_length) for i, hop in enumerate(model.hop_lengths)}
    parts = {"encoder": Part([model.encoders, model.quantizers], encode, _waveform(model), coded, PADDED)}
    if model.config.joint_decoding:
        return parts | {"decoder": decoder(None)}
    return parts | {f"decoder_{level}": decoder(level) for level in range(model.num_levels)}


PADDED = "Zeros are appended up to a whole frame: frames = ceil(time / hop_length). NaN and infinity are not refused."
CODES = "Codes have to be at least 0 and less than the size of their codebook, which is not checked."


def _waveform(model: AutoencoderModel) -> dict[str, Signal]:
    return {"waveform": Signal(model.config.audio_channels, "time")}


def _decoded(model: AutoencoderModel, hop_length: int) -> dict[str, Signal]:
    return {"waveform": Signal(model.config.audio_channels, "frames", hop_length)}


def _shortest(model: AutoencoderModel) -> int:
    """Frames from which on all lengths take the same way through the model: more than a mirrored padding has samples.

    Of one frame torch.export makes a special case.
    """
    layers: Iterable[Any] = model.modules()
    return max([2, *(max(layer.left, layer.right) + 1 for layer in layers if getattr(layer, "reflect", False))])


def _facts(model: AutoencoderModel, shortest: int) -> dict[str, object]:
    """What a caller of any of a model's graphs has to know."""
    facts: dict[str, object] = {
        "model_class": type(model).__name__,
        "weights": weights_fingerprint(model),
        "hf_audio_vae_version": version("hf-audio-vae"),
        "sampling_rate": model.sampling_rate,
        "audio_channels": model.config.audio_channels,
        "waveform_range": [-1, 1],
        "hop_length": model.hop_length,
        "min_frames": shortest,
        "min_time": _min_time(shortest, model.hop_length),
    }
    if isinstance(model, WaveformVAE):
        statistics = {name: getattr(model.config, name) for name in ("latents_mean", "latents_std")}
        return facts | {"latent_channels": model.latent_channels, **statistics}
    if isinstance(model, HierarchicalVQVAE):
        facts["hop_lengths"] = model.hop_lengths
    return facts | {"codebook_sizes": model.codebook_sizes}


def _min_time(shortest: int, hop_length: int) -> int:
    return (shortest - 1) * hop_length + 1


def _traced(part: Part, shortest: int, hop_length: int, facts: Mapping[str, object]) -> Graph:
    dims = {
        "batch": Dim("batch", min=1),
        "frames": Dim("frames", min=shortest),
        "time": Dim("time", min=_min_time(shortest, hop_length)),
    }
    shapes = (tuple(signal.dynamic(dims) for signal in part.inputs.values()),)  # one tuple, of `*inputs`
    program = torch.export.export(part, part.drawn(2, shortest + 5, hop_length), dynamic_shapes=shapes)
    metadata = {
        **facts,
        "inputs": {name: signal.described() for name, signal in part.inputs.items()},
        "outputs": {name: signal.described() for name, signal in part.outputs.items()},
        "description": part.description,
    }
    return Graph(program, shapes, list(part.inputs), list(part.outputs), metadata)


def _differences(
    path: Path,
    outputs: Mapping[str, Signal],
    results: list[tuple[Tensor, ...]],
    expected: list[tuple[Tensor, ...]],
) -> dict[str, float]:
    """How far each output is off, the worst of all runs; a `ValueError` if one is too far."""
    found = {}
    for place, (name, signal) in enumerate(outputs.items()):
        codes = signal.codebook_sizes is not None
        measure, limit = (_other_frames, OTHER_CODES) if codes else (_largest_difference, TOLERANCE)
        found[name] = max(measure(ours[place], theirs[place]) for ours, theirs in zip(results, expected, strict=True))
        if not found[name] <= limit:
            raise ValueError(
                f"{path} differs from the model by {found[name]:.1e} in its {name}, more than {limit:g}; do not use "
                f"it, and try other versions of torch and onnxruntime."
            )
    return found


def _largest_difference(actual: Tensor, expected: Tensor) -> float:
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def _other_frames(actual: Tensor, expected: Tensor) -> float:
    return (actual != expected).any(dim=1).double().mean().item()
