"""Export of encoders and decoders as graphs that run without this package, for any batch size and any length.

A graph is traced from a float32 copy with folded weight norm. It holds no checks: the caller must not pass NaN,
infinity or invalid codes. It is as exact as the model and codes without chunks, so its memory grows with the length.
"""

import copy
import importlib
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from hf_audio_vae.files import as_write_error, make_folder
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.graph_files import Graph, GraphFormat
from hf_audio_vae.models.graph_parts import GraphPart, Signal
from hf_audio_vae.modules.convolution import GroupNormConv1d, WeightNormConv1d, fold_weight_norm
from hf_audio_vae.version import __version__

# Another order of sums changes results by about 1e-6 of the largest value; a wrong graph changes them completely.
TOLERANCE = 1e-4
# Rounding also changes a few codes at almost equal distances; a wrong graph changes most codes.
OTHER_CODES = 0.05


@torch.no_grad()
def export_model(
    model: AudioAutoencoderMixin, output_dir: Path, *, file_format: GraphFormat, overwrite: bool = False
) -> dict[Path, dict[str, float]]:
    """Write a model's encoder and decoder to files, run each and compare it with the model.

    A `WaveformVAE` gives `encoder`, which returns the posterior's mean, and `decoder`; the latents are not normalised.
    Codecs give an `encoder` to codes and a `decoder`. A hierarchy that decodes each level separately has one decoder
    per level, `decoder_0` for the finest.

    The files are moved to `output_dir` after all of them have passed; existing files stay until then.

    Args:
        model (`AudioAutoencoderMixin`): The model; it does not change.
        output_dir (`Path`): Folder for the files, created if missing.
        file_format (`GraphFormat`): `ONNX` or `TORCH`.
        overwrite (`bool`): Replace existing files of these names.

    Returns:
        `dict[Path, dict[str, float]]`: By file and output, the difference from the model in float32: the largest
        difference over the largest value, or for codes the share of frames with other codes.

    Raises:
        ValueError: The model has an LSTM, a file exists, or the results of a file differ from the model's.
        OSError: The folder cannot be written.
        ModuleNotFoundError: A library of the format is missing; the extra `export` installs them.

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
        importlib.import_module(library)  # raises an error before the export starts
    frozen = _freeze(model)
    parts, shortest, hop = frozen.graph_parts(), _shortest(frozen), model.hop_length
    paths = {name: output_dir / f"{name}{file_format.suffix}" for name in parts}
    for path in paths.values():
        if os.path.lexists(path) and not overwrite:
            raise ValueError(f"{path} exists; name another --output_dir, or give --overwrite.")
    sizes = ((1, shortest), (3, 2 * shortest + 9))
    probes = {name: [part.draw(*size, hop_length=hop) for size in sizes] for name, part in parts.items()}
    # Before folding, so that folding is checked as well.
    expected = {name: [part(*inputs) for inputs in probes[name]] for name, part in parts.items()}
    fold_weight_norm(frozen)
    facts = _facts(model, shortest)
    differences = {}
    with as_write_error(output_dir):
        make_folder(output_dir)
        temporary = TemporaryDirectory(dir=output_dir)
    with temporary as folder:
        for name, part in parts.items():
            path = Path(folder) / paths[name].name
            file_format.write(_trace(part, facts, shortest=shortest, hop_length=hop), path)
            run = file_format.load(path)
            results = [run(*inputs) for inputs in probes[name]]
            found = _compare(results, expected[name], outputs=part.outputs, file=path.name)
            differences[paths[name]] = found
        for path in Path(folder).iterdir():
            path.replace(output_dir / path.name)
    return differences


def _freeze(model: AudioAutoencoderMixin) -> Any:
    """Return a float32 copy of a model that codes whole signals by its layers."""
    frozen: Any = nn.Module.to(copy.deepcopy(model), "cpu", torch.float32).eval()
    frozen.use_plain_coder()
    return frozen


def _shortest(model: AudioAutoencoderMixin) -> int:
    """Smallest number of frames for which a graph is valid: more than any mirrored padding.

    It is at least 2, since torch.export specialises on one frame.
    """
    layers: Iterable[Any] = model.modules()
    mirrored = [
        m.alignment for m in layers if isinstance(m, WeightNormConv1d | GroupNormConv1d) and m.alignment.mirrored
    ]
    return max([2, *(max(alignment.left, alignment.right) + 1 for alignment in mirrored)])


def _facts(model: AudioAutoencoderMixin, shortest: int) -> dict[str, object]:
    """Return the metadata of all graphs of a model."""
    return {
        "model_class": model.family_name(),
        "weights": model_fingerprint(model),
        "hf_audio_vae_version": __version__,
        "sampling_rate": model.sampling_rate,
        "audio_channels": model.config.audio_channels,
        "waveform_range": [-1, 1],
        "hop_length": model.hop_length,
        "min_frames": shortest,
        "min_time": _min_time(shortest, model.hop_length),
        **model.graph_metadata(),
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # of torch's own use
        program = torch.export.export(
            part,
            part.draw(2, shortest + 5, hop_length=hop_length),
            dynamic_shapes=shapes,
            # With a single channel, torch derives conditions such as 1 % frames != 0. They hold for two or more
            # frames, but it cannot prove that and would refuse; the graph asserts them instead.
            prefer_deferred_runtime_asserts_over_guards=True,
        )
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
    """Return the largest difference of each output over all runs; `ValueError` if one exceeds its limit."""
    found = {}
    for index, (name, signal) in enumerate(outputs.items()):
        codes = signal.codebook_sizes is not None
        measure, limit = (_other_frames, OTHER_CODES) if codes else (_largest_difference, TOLERANCE)
        runs = [measure(ours[index], theirs[index]) for ours, theirs in zip(results, expected, strict=True)]
        found[name] = torch.stack(runs).max().item()  # NaN if there is one, unlike Python's max
        if not found[name] <= limit:
            remedy = "try other versions of torch and onnxruntime"
            if codes:  # rounding decides between vectors that are almost equal, which a graph cannot repeat
                remedy = f"train longer if the codebooks have equal vectors, as after a few steps; else {remedy}"
            raise ValueError(
                f"{file} differs from the model by {found[name]:.1e} in its {name}, more than {limit:g}, and is not "
                f"kept; {remedy}."
            )
    return found


def _largest_difference(actual: Tensor, expected: Tensor) -> Tensor:
    peak = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)  # 0 for two silent outputs
    return (actual - expected).abs().max() / peak


def _other_frames(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual != expected).any(dim=1).double().mean()
