"""Precision of the fused form on real audio: latents and reconstructions of a trained model.

Each form encodes and decodes the sounds of a folder. The error against the plain form in float32 is a ratio in dB,
20 log10 of the norm of the plain result over the norm of the difference. The table also has the metrics of the
reconstructions. Fused forms of types without kernels are left out.

    python benchmarks/fused_precision.py --model outputs/waveform-vae-demo --sounds data/held_out
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from command_line import Parser, input_folder, main_or_exit
from measuring import print_table
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import convert_channels, read_audio, resample
from hf_audio_vae.evaluation import reconstruction_metrics
from hf_audio_vae.runtime.native import native_kernels

REPO = Path(__file__).parents[1]
SUFFIXES = {".flac", ".ogg", ".wav"}
FORMS = {"plain": torch.float32, "fused": torch.float32, "plain, bfloat16": torch.bfloat16}
FORMS["fused, bfloat16"] = torch.bfloat16


def sounds(folder: Path, model: WaveformVAE) -> list[Tensor]:
    """Read all sounds in the format of the model, (1, audio_channels, time)."""
    waveforms = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        waveform, sampling_rate = read_audio(path)
        waveform = convert_channels(waveform, model.config.audio_channels)
        waveforms.append(resample(waveform, sampling_rate, model.sampling_rate)[None])
    if not waveforms:
        raise ValueError(f"{folder} has no sound; it should have files of {', '.join(sorted(SUFFIXES))}.")
    return waveforms


def form_of(model: WaveformVAE, name: str) -> WaveformVAE:
    """Return a copy of the model in a form."""
    copied = torch.nn.Module.to(copy.deepcopy(model), FORMS[name])
    if name.startswith("fused"):
        copied.fuse()
    return copied


def decibels(values: list[Tensor], exact: list[Tensor]) -> float:
    """Return the ratio of exact values to errors in dB."""
    error = sum(
        float((value.float() - reference).square().sum()) for value, reference in zip(values, exact, strict=True)
    )
    return float(
        10 * torch.log10(torch.tensor(sum(float(reference.square().sum()) for reference in exact) / max(error, 1e-30)))
    )


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--model", required=True, help="folder or Hub id")
    parser.add_argument("--sounds", type=input_folder, default=REPO / "data/held_out")
    arguments = parser.parse_args(argv)
    model = WaveformVAE.from_pretrained(arguments.model).eval()
    originals = sounds(arguments.sounds, model)
    rows: list[list[str | float]] = []
    exact: tuple[list[Tensor], list[Tensor]] | None = None
    with torch.inference_mode():
        for name, dtype in FORMS.items():
            form = form_of(model, name)
            if name.startswith("fused") and native_kernels(dtype) is None:
                continue
            latents = [form.encode(original.to(dtype)).latent_dist.mean for original in originals]
            outputs = [form.decode(z).sample[..., : x.shape[-1]] for z, x in zip(latents, originals, strict=True)]
            exact = exact or (latents, outputs)
            scores = [
                reconstruction_metrics(output.float(), original, model.sampling_rate)
                for output, original in zip(outputs, originals, strict=True)
            ]
            means = [sum(float(score[metric]) for score in scores) / len(scores) for metric in scores[0]]
            distances = [
                decibels(values, reference) for values, reference in zip((latents, outputs), exact, strict=True)
            ]
            rows.append([name, *(distances if name != "plain" else ["-", "-"]), *means])
        print_table(["form", "latents dB", "sound dB", *scores[0]], rows)


if __name__ == "__main__":
    main_or_exit(main)
