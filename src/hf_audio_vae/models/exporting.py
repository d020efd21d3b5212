"""Encoder and decoder as graphs that run without this package, in batches of any size and at any length.

A graph is traced from a copy in float32, weight norm folded, and holds no checks: a caller keeps NaN, infinity and
what is no code away from it. It is as exact as the model, so its memory grows with the length: there are no chunks.
"""

import copy
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hf_audio_vae.models import AutoencoderModel, HierarchicalVQVAE, WaveformVAE, WaveformVQVAE
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.models.graph_files import Graph, GraphFormat
from hf_audio_vae.modules.convolution import GroupNormConv1d, WeightNormConv1d, fold_weight_norm
from hf_audio_vae.version import __version__

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
    _: KW_ONLY
    rate: int = 1
    codebook_sizes: tuple[int, ...] | None = None

    def describe(self) -> dict[str, object]:
        """Tell a reader shape and type."""
        dtype = "float32" if self.codebook_sizes is None else "int64"
        length = self.unit if self.rate == 1 else f"{self.rate} * {self.unit}"
        return {"shape": ["batch", self.channels, length][: 3 if self.unit else 2], "dtype": dtype}

    def name_dimensions(self, dims: Mapping[str, Dim]) -> dict[int, object]:
        """Tell torch.export which of them differ from call to call."""
        batch: dict[int, object] = {0: dims["batch"]}
        return batch if self.unit is None else batch | {2: self.rate * dims[self.unit]}

    def draw(self, sizes: Mapping[str, int], generator: torch.Generator) -> Tensor:
        """Return random codes, or numbers that are uniform in [-1, 1]."""
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
        facts (`dict[str, object]`): What a caller of this part alone has to know, for its file's metadata.
    """

    def __init__(
        self,
        modules: list[nn.Module],
        run: Graphed,
        *,
        inputs: dict[str, Signal],
        outputs: dict[str, Signal],
        facts: dict[str, object],
    ) -> None:
        super().__init__()
        self.used = nn.ModuleList(modules)
        self.run, self.inputs, self.outputs, self.facts = run, inputs, outputs, facts

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it."""
        return self.run(*inputs)

    def draw(self, batch: int, frames: int, *, hop_length: int) -> tuple[Tensor, ...]:
        """Return random inputs; the last frame of a waveform is not full, if that can be."""
        sizes = {"batch": batch, "frames": frames, "time": frames * hop_length - hop_length // 2}
        generator = torch.Generator().manual_seed(frames)
        return tuple(signal.draw(sizes, generator) for signal in self.inputs.values())


@torch.no_grad()
def export_model(
    model: AutoencoderModel, output_dir: Path, *, file_format: GraphFormat
) -> dict[Path, dict[str, float]]:
    """Write a model's encoder and decoder to files, run each and compare it with the model.

    A `WaveformVAE` becomes `encoder`, which gives the posterior's mean, and `decoder`; the latents are not normalised.
    Codecs become an `encoder` to codes and a `decoder`; a hierarchy whose levels are decoded each by itself has a
    decoder for each, `decoder_0` the finest.

    The files get their place in `output_dir` when all of them have passed; before that, what is there stays.

    Args:
        model (`AutoencoderModel`): The model; it stays as it is.
        output_dir (`Path`): Folder for the files, made if it is not there.
        file_format (`GraphFormat`): `ONNX` or `TORCH`.

    Returns:
        `dict[Path, dict[str, float]]`: By file and output, how far the file's result is from the model's in float32:
        the largest difference over the largest value, or of codes the share of frames that have others.

    Raises:
        ValueError: The model has an LSTM, or a file computes something else than the model.
        ModuleNotFoundError: A library of the format is missing; the extra `export` brings them.

    Example:
        >>> import tempfile
        >>> from hf_audio_vae.models.graph_files import TORCH
        >>> model = WaveformVAE(4, (2,), (1,), 4, decoder_input_channels=2, audio_channels=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = export_model(model, Path(folder), file_format=TORCH)
        ...     decoder = torch.export.load(Path(folder) / "decoder.pt2").module()
        >>> [path.name for path in files], decoder(torch.zeros(3, 2, 50))[0].shape
        (['encoder.pt2', 'decoder.pt2'], torch.Size([3, 1, 100]))
    """
    for library in file_format.libraries:
        importlib.import_module(library)  # missed now, and not after the work
    frozen = _freeze(model)
    parts, shortest, hop = _split(frozen), _shortest(frozen), model.hop_length
    sizes = ((1, shortest), (3, 2 * shortest + 9))
    probes = {name: [part.draw(*size, hop_length=hop) for size in sizes] for name, part in parts.items()}
    # Of the weights as they are in the model: folding is checked as well.
    expected = {name: [part(*inputs) for inputs in probes[name]] for name, part in parts.items()}
    fold_weight_norm(frozen)
    output_dir.mkdir(parents=True, exist_ok=True)
    facts = _facts(model, shortest)
    differences = {}
    with TemporaryDirectory(dir=output_dir) as folder:
        for name, part in parts.items():
            path = Path(folder) / f"{name}{file_format.suffix}"
            file_format.write(_trace(part, facts, shortest=shortest, hop_length=hop), path)
            run = file_format.load(path)
            results = [run(*inputs) for inputs in probes[name]]
            found = _compare(results, expected[name], outputs=part.outputs, file=path.name)
            differences[output_dir / path.name] = found
        for path in Path(folder).iterdir():
            path.replace(output_dir / path.name)
    return differences


def _freeze(model: AutoencoderModel) -> Any:
    """Copy a model as a graph computes it: in float32, at once, by its layers."""
    frozen: Any = nn.Module.to(copy.deepcopy(model), "cpu", torch.float32).eval()
    frozen.disable_tiling()
    if isinstance(frozen, WaveformVAE):
        frozen.disable_slicing()
    return frozen


def _split(model: AutoencoderModel) -> dict[str, Part]:
    """Return encoder and decoder of a model, by the name of their file."""
    if isinstance(model, WaveformVAE):
        return _split_vae(model)
    return _split_codec(model) if isinstance(model, WaveformVQVAE) else _split_hierarchy(model)


def _split_vae(model: WaveformVAE) -> dict[str, Part]:
    latents = {"latents": Signal(model.latent_channels, "frames")}

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return (model.encode(waveform).latent_dist.mode(),)

    def decode(latents: Tensor) -> tuple[Tensor, ...]:
        return model.decode(latents, return_dict=False)

    mean = "The latents are the mean of the posterior, as the model has them: not normalised by `latents_mean`."
    taken = "Takes latents as the encoder gives them: undo a normalisation by `latents_mean` first."
    return {
        "encoder": Part(
            [model.encoder],
            encode,
            inputs=_waveform(model),
            outputs=latents,
            facts={"description": f"{mean} {PADDED}"},
        ),
        "decoder": Part(
            [model.decoder],
            decode,
            inputs=latents,
            outputs=_decoded(model, model.hop_length),
            facts={"description": taken},
        ),
    }


def _split_codec(model: WaveformVQVAE) -> dict[str, Part]:
    if model.config.num_lstm_layers:
        raise ValueError(
            f"`num_lstm_layers` is {model.config.num_lstm_layers}, and torch.export ties an LSTM to the one length "
            f"that it is traced with; export a model without, or compile this one where it runs."
        )
    coded = {"codes": Signal(model.num_codebooks, "frames", codebook_sizes=model.codebook_sizes)}
    coding, decoding = PADDED, CODES
    if model.config.normalize:
        coded["scales"] = Signal(1)
        coding += " `scales` holds what each item was divided by first: the root mean square of its channels' mean."
        decoding += " The waveform is multiplied by `scales`: give it those that came with the codes."

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        return tuple(model.encode(waveform, return_dict=False))

    def decode(codes: Tensor, scales: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(model.decode(codes, audio_scales=scales, return_dict=False))

    return {
        "encoder": Part(
            [model.encoder, model.quantizer],
            encode,
            inputs=_waveform(model),
            outputs=coded,
            facts={"description": coding},
        ),
        "decoder": Part(
            [model.quantizer, model.decoder],
            decode,
            inputs=coded,
            outputs=_decoded(model, model.hop_length),
            facts={"description": decoding},
        ),
    }


def _split_hierarchy(model: HierarchicalVQVAE) -> dict[str, Part]:
    def codes_of(hop_length: int, unit_hop: int) -> Signal:
        size = model.config.codebook_size
        return Signal(1, "frames", rate=unit_hop // hop_length, codebook_sizes=(size,))

    def encode(waveform: Tensor) -> tuple[Tensor, ...]:
        levels: Any = model.encode(waveform, return_dict=False)[0]
        return levels

    def decoder(level: int | None) -> Part:
        def decode(*codes: Tensor) -> tuple[Tensor, ...]:
            return tuple(model.decode(codes if level is None else codes[0], level=level, return_dict=False))

        hop = model.hop_length if level is None else model.hop_lengths[level]
        facts: dict[str, object] = {"description": CODES}
        if level is not None:
            facts = {"description": f"{CODES} {LEVEL}", "level": level, "level_hop_length": hop}
        return Part(
            [model.quantizers, model.decoders],
            decode,
            inputs=coded if level is None else {f"codes_{level}": codes_of(hop, hop)},
            outputs=_decoded(model, hop),
            facts=facts,
        )

    coded = {f"codes_{i}": codes_of(hop, model.hop_length) for i, hop in enumerate(model.hop_lengths)}
    modules: list[nn.Module] = [model.encoders, model.quantizers]
    encoder = Part(modules, encode, inputs=_waveform(model), outputs=coded, facts={"description": PADDED})
    if model.config.joint_decoding:
        return {"encoder": encoder, "decoder": decoder(None)}
    return {"encoder": encoder} | {f"decoder_{level}": decoder(level) for level in range(model.num_levels)}


PADDED = "Zeros are appended up to a whole frame: frames = ceil(time / hop_length). NaN and infinity are not refused."
CODES = "Codes have to be at least 0 and less than the size of their codebook, which is not checked."
LEVEL = "`frames` counts those of this `level`, of `level_hop_length` samples; 0 is the finest level."


def _waveform(model: AutoencoderModel) -> dict[str, Signal]:
    return {"waveform": Signal(model.config.audio_channels, "time")}


def _decoded(model: AutoencoderModel, hop_length: int) -> dict[str, Signal]:
    return {"waveform": Signal(model.config.audio_channels, "frames", rate=hop_length)}


def _shortest(model: AutoencoderModel) -> int:
    """Frames from which on all lengths take the same way through the model: more than a mirrored padding has samples.

    Of one frame torch.export makes a special case.
    """
    layers: Iterable[Any] = model.modules()
    mirrored = [
        m.alignment for m in layers if isinstance(m, WeightNormConv1d | GroupNormConv1d) and m.alignment.mirrored
    ]
    return max([2, *(max(alignment.left, alignment.right) + 1 for alignment in mirrored)])


def _facts(model: AutoencoderModel, shortest: int) -> dict[str, object]:
    """What a caller of any of a model's graphs has to know."""
    facts: dict[str, object] = {
        "model_class": type(model).__name__,
        "weights": weights_fingerprint(model),
        "hf_audio_vae_version": __version__,
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


def _trace(part: Part, facts: Mapping[str, object], *, shortest: int, hop_length: int) -> Graph:
    dims = {
        "batch": Dim("batch", min=1),
        "frames": Dim("frames", min=shortest),
        "time": Dim("time", min=_min_time(shortest, hop_length)),
    }
    shapes = (tuple(signal.name_dimensions(dims) for signal in part.inputs.values()),)  # one tuple, of `*inputs`
    program = torch.export.export(part, part.draw(2, shortest + 5, hop_length=hop_length), dynamic_shapes=shapes)
    metadata = {
        **facts,
        **part.facts,
        "inputs": {name: signal.describe() for name, signal in part.inputs.items()},
        "outputs": {name: signal.describe() for name, signal in part.outputs.items()},
    }
    return Graph(program, shapes, inputs=list(part.inputs), outputs=list(part.outputs), metadata=metadata)


def _compare(
    results: list[tuple[Tensor, ...]], expected: list[tuple[Tensor, ...]], *, outputs: Mapping[str, Signal], file: str
) -> dict[str, float]:
    """Tell how far each output is off, the worst of all runs; a `ValueError` if one is too far."""
    found = {}
    for place, (name, signal) in enumerate(outputs.items()):
        codes = signal.codebook_sizes is not None
        measure, limit = (_other_frames, OTHER_CODES) if codes else (_largest_difference, TOLERANCE)
        runs = [measure(ours[place], theirs[place]) for ours, theirs in zip(results, expected, strict=True)]
        found[name] = torch.stack(runs).max().item()  # NaN if there is one, unlike Python's max
        if not found[name] <= limit:
            raise ValueError(
                f"{file} differs from the model by {found[name]:.1e} in its {name}, more than {limit:g}, and is not "
                f"kept; try other versions of torch and onnxruntime."
            )
    return found


def _largest_difference(actual: Tensor, expected: Tensor) -> Tensor:
    peak = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)  # silence stands beside silence
    return (actual - expected).abs().max() / peak


def _other_frames(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual != expected).any(dim=1).double().mean()
