"""Left and right against mid and side at the input of a stereo `STFTVAE`: the same music, steps and seeds.

The second form rotates the channels by 45 degrees before the STFT, and back after the inverse. Everything else is
equal. The corpus is that of docs/corpora.md that keeps its stereo; excerpts of its stereo music are cut once.

    python benchmarks/mid_side.py --dataset_name outputs/lean

Printed with the default options, for 21 held-out excerpts of 4 s:

| channels | KL (kbit/s) | mel distance | STFT distance | SI-SDR (dB) | of the side (dB) | error of the side (dB) |
|---|---|---|---|---|---|---|
| left and right, seed 0 | 8.47 | 1.99 | 1.96 | -7.36 | -34.7 | 6.53 |
| left and right, seed 1 | 9.07 | 1.94 | 1.92 | -7.30 | -37.9 | 6.41 |
| left and right, mean | 8.77 | 1.96 | 1.94 | -7.33 | -36.3 | 6.47 |
| mid and side, seed 0 | 7.84 | 2.06 | 2.01 | -7.83 | -38.5 | 7.04 |
| mid and side, seed 1 | 8.62 | 2.00 | 1.97 | -8.00 | -41.0 | 7.36 |
| mid and side, mean | 8.23 | 2.03 | 1.99 | -7.92 | -39.7 | 7.20 |
"""

import runpy
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from command_line import Parser, count, input_file, main_or_exit, output_path, whole
from measuring import print_table
from torch import Tensor
from training_runs import REPO, check_finished

from hf_audio_vae import STFTVAE
from hf_audio_vae.audio.io import read_audio, write_audio
from hf_audio_vae.audio.resampling import resampled_length
from hf_audio_vae.data import load_audio_stream
from hf_audio_vae.data.clips import open_item, read_checked_crop
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.metrics import mean_metrics, measure, si_sdr
from hf_audio_vae.models.registry import FAMILIES
from hf_audio_vae.modules.distributions import DiagonalGaussian

RATE, SEGMENT = 24000, 0.512
EXCERPT_SECONDS, CLIP_SECONDS, EXCERPTS = 10.0, 4.0, 4  # of training, of measuring; training excerpts a file
LEAST_SIDE = 1e-4  # energy of the side over that of the mid, in excerpts that count as stereo
FORMS = {"left and right": "STFTVAE", "mid and side": "MidSideSTFTVAE"}


class MidSideSTFTVAE(STFTVAE):
    """`STFTVAE` that codes mid and side."""

    def _encode(self, waveform: Tensor, *, checked: bool = False) -> DiagonalGaussian:
        return super()._encode(rotated(waveform), checked=checked)

    def _decode(self, latents: Tensor) -> Tensor:
        return rotated(super()._decode(latents))


def rotated(x: Tensor) -> Tensor:
    """Orthonormal sum and difference of two channels; (batch, 2, time) -> (batch, 2, time)."""
    left, right = x.unbind(dim=1)
    return torch.stack([left + right, left - right], dim=1) / 2**0.5


def stereo_excerpts(dataset_name: str, split: str, seconds: float, count: int) -> Iterator[Tensor]:
    """Read `count` excerpts at equal distances of every file of music with a side, (2, time)."""
    for example in load_audio_stream(dataset_name, split=split, keep_columns=True):
        if not {"kind", "audio_channels"} <= example.keys():
            raise ValueError(f"{dataset_name} has no columns `kind` and `audio_channels`; name a corpus of debian.py.")
        if example["kind"] != "music" or example["audio_channels"] != 2:
            continue
        with open_item(example["audio"]) as reader:
            length, wanted = resampled_length(reader, RATE), round(seconds * RATE)
            for index in range(count):
                start = (length - wanted) * (index + 1) // (count + 1)
                if start < 0:
                    continue
                excerpt = read_checked_crop(reader, start, wanted, sampling_rate=RATE, audio_channels=2)
                mid, side = rotated(excerpt[None])[0].square().sum(dim=-1)
                if side > LEAST_SIDE * mid > 0:
                    yield excerpt


def cut(folder: Path, excerpts: Iterator[Tensor]) -> Path:
    """Write excerpts to a folder, once."""
    if not folder.exists():
        new = folder.with_name(f"{folder.name}-new")
        new.mkdir(parents=True, exist_ok=True)
        for index, excerpt in enumerate(excerpts):
            write_audio(new / f"{index:04d}.flac", excerpt, RATE)
        if not any(new.iterdir()):
            raise ValueError("there is no music whose channels differ; name a corpus that keeps its stereo.")
        new.rename(folder)
    return folder


def recipe(data: Path, family: str, steps: int, seed: int) -> dict[str, Any]:
    """Return the sizes of `stft-vae-demo` with the losses of the stereo recipe."""
    demo, stereo = (
        yaml.safe_load((REPO / f"training/recipes/{name}.yaml").read_text())
        for name in ("stft-vae-demo", "stft-vae-44khz-stereo")
    )
    rarely = dict.fromkeys(("validation_steps", "checkpointing_steps", "max_train_steps"), steps)
    changes = {"family": family, "seed": seed, "max_train_minutes": None, "max_validation_samples": 1}
    changes |= {"model": demo["model"] | {"audio_channels": 2, "sampling_rate": RATE}, "segment_seconds": SEGMENT}
    changes |= {"dataset_name": str(data / "train"), "validation_dataset_name": str(data / "held_out")}
    return demo | {name: stereo[name] for name in ("losses", "weights")} | changes | rarely


def trained(folder: Path, values: dict[str, Any]) -> STFTVAE:
    """Train in another process unless it is done; return the average of the weights."""
    path = folder / "run.yaml"
    if not (folder / "metrics.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values | {"output_dir": str(folder), "resume_from_checkpoint": "latest"}))
        with (folder / "log.txt").open("w") as log:
            command = [sys.executable, __file__, "--train", str(path)]
            check_finished(subprocess.run(command, cwd=REPO, stdout=log, stderr=log), folder)
    model_class: Any = FAMILIES[values["family"]]
    return model_class.from_pretrained(folder).eval()


@torch.no_grad()
def figures_of(model: STFTVAE, clips: list[Tensor]) -> dict[str, float]:
    """Measure a model; the error of the side's level is the mean absolute one, in dB."""
    rows, health = [], health_of(model)
    for clip in clips:
        output = model(clip[None])
        health.add(output)
        mid_side, target = rotated(output.sample), rotated(clip[None])
        levels = [10 * x[:, 1].square().mean().log10() for x in (mid_side, target)]
        extra = {"side_error_db": (levels[0] - levels[1]).abs()}
        extra["side_si_sdr_db"] = si_sdr(mid_side[:, 1:], target[:, 1:])
        rows.append(measure(output.sample, clip[None], extra, RATE))
    return mean_metrics(rows) | {"kbit_per_second": health.summary()["bits_per_second"] / 1000}


def main(argv: Sequence[str]) -> None:
    """Train each form with each seed, and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--dataset_name")
    parser.add_argument("--steps", type=count, default=500)
    parser.add_argument("--seeds", type=whole, nargs="+", default=[0, 1])
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/mid_side")
    parser.add_argument("--train", type=input_file, help="recipe of one run; the other options are not read")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    FAMILIES["MidSideSTFTVAE"] = MidSideSTFTVAE
    if arguments.train is None and arguments.dataset_name is None:
        parser.error("--dataset_name is missing; name a corpus that training/corpora/debian.py has made")
    if arguments.train:
        sys.argv = ["train_autoencoder.py", "--config", str(arguments.train)]
        runpy.run_path(str(REPO / "training/train_autoencoder.py"), run_name="__main__")
        return
    data = arguments.output_dir / "data"
    cut(data / "train", stereo_excerpts(arguments.dataset_name, "train", EXCERPT_SECONDS, EXCERPTS))
    held_out = cut(data / "held_out", stereo_excerpts(arguments.dataset_name, "validation", CLIP_SECONDS, 1))
    clips = [read_audio(path)[0] for path in sorted(held_out.glob("*.flac"))]
    columns = ["kbit_per_second", "mel_distance", "multi_resolution_stft", "si_sdr_db"]
    columns += ["side_si_sdr_db", "side_error_db"]
    rows = []
    for name, family in FORMS.items():
        found = []
        for seed in arguments.seeds:
            folder = arguments.output_dir / f"{family}-{arguments.steps}-{seed}"
            found.append(figures_of(trained(folder, recipe(data, family, arguments.steps, seed)), clips))
            rows.append([f"{name}, seed {seed}", *map(found[-1].get, columns)])
        rows.append([f"{name}, mean", *(fmean(figures[column] for figures in found) for column in columns)])
    print(f"{len(clips)} held-out excerpts of {CLIP_SECONDS:g} s")
    header = ["channels", "KL (kbit/s)", "mel distance", "STFT distance", "SI-SDR (dB)", "of the side (dB)"]
    print_table([*header, "error of the side (dB)"], rows)


if __name__ == "__main__":
    main_or_exit(main)
