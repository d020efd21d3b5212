"""Encoder and decoder as graphs that run without this package, in batches of any size and at any length.

A graph is traced from a copy in float32, weight norm folded, and holds no checks: a caller keeps NaN, infinity and
what is no code away from it. It is as exact as the model, so its memory grows with the length: there are no chunks.
"""

import copy
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.models.graph_files import Graph, GraphFormat
from hf_audio_vae.models.graph_parts import GraphPart, Signal
from hf_audio_vae.modules.convolution import GroupNormConv1d, WeightNormConv1d, fold_weight_norm
from hf_audio_vae.version import __version__

# Sums in another order differ by some 1e-6 of the largest value; a graph that computes something else, by all of it.
TOLERANCE = 1e-4
# That rounding also decides between codes that are equally near but for it; a wrong graph has few codes in common.
OTHER_CODES = 0.05


@torch.no_grad()
def export_model(
    model: AudioAutoencoderMixin, output_dir: Path, *, file_format: GraphFormat
) -> dict[Path, dict[str, float]]:
    """Write a model's encoder and decoder to files, run each and compare it with the model.

    A `WaveformVAE` becomes `encoder`, which gives the posterior's mean, and `decoder`; the latents are not normalised.
    Codecs become an `encoder` to codes and a `decoder`; a hierarchy whose levels are decoded each by itself has a
    decoder for each, `decoder_0` the finest.

    The files get their place in `output_dir` when all of them have passed; before that, what is there stays.

    Args:
        model (`AudioAutoencoderMixin`): The model; it stays as it is.
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
        >>> from hf_audio_vae import WaveformVAE
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
    parts, shortest, hop = frozen.graph_parts(), _shortest(frozen), model.hop_length
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


def _freeze(model: AudioAutoencoderMixin) -> Any:
    """Copy a model as a graph computes it: in float32, at once, by its layers."""
    frozen: Any = nn.Module.to(copy.deepcopy(model), "cpu", torch.float32).eval()
    frozen.code_whole()
    return frozen


def _shortest(model: AudioAutoencoderMixin) -> int:
    """Frames from which on all lengths take the same way through the model: more than a mirrored padding has samples.

    Of one frame torch.export makes a special case.
    """
    layers: Iterable[Any] = model.modules()
    mirrored = [
        m.alignment for m in layers if isinstance(m, WeightNormConv1d | GroupNormConv1d) and m.alignment.mirrored
    ]
    return max([2, *(max(alignment.left, alignment.right) + 1 for alignment in mirrored)])


def _facts(model: AudioAutoencoderMixin, shortest: int) -> dict[str, object]:
    """What a caller of any of a model's graphs has to know."""
    return {
        "model_class": type(model).__name__,
        "weights": weights_fingerprint(model),
        "hf_audio_vae_version": __version__,
        "sampling_rate": model.sampling_rate,
        "audio_channels": model.config.audio_channels,
        "waveform_range": [-1, 1],
        "hop_length": model.hop_length,
        "min_frames": shortest,
        "min_time": _min_time(shortest, model.hop_length),
        **model.graph_facts(),
    }


def _min_time(shortest: int, hop_length: int) -> int:
    return (shortest - 1) * hop_length + 1


def _trace(part: GraphPart, facts: Mapping[str, object], *, shortest: int, hop_length: int) -> Graph:
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
    for index, (name, signal) in enumerate(outputs.items()):
        codes = signal.codebook_sizes is not None
        measure, limit = (_other_frames, OTHER_CODES) if codes else (_largest_difference, TOLERANCE)
        runs = [measure(ours[index], theirs[index]) for ours, theirs in zip(results, expected, strict=True)]
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
