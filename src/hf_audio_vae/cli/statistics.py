"""The `statistics` command."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.outputs import check_writable, printable
from hf_audio_vae.cli.priors import check_has_latents, with_latents
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.cli.tables import print_remark, print_table
from hf_audio_vae.files.location import model_location
from hf_audio_vae.latents import (
    AutoregressiveGaussian,
    FrameMoments,
    FrameReservoir,
    LatentPrior,
    PriorInfo,
    fit_mixture,
)
from hf_audio_vae.latents.prior import PRIOR_FILE, quantiles_of
from hf_audio_vae.models import VariationalAutoencoderMixin
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.normalization import check_statistics, write_statistics
from hf_audio_vae.models.registry import keeps_statistics
from hf_audio_vae.models.sound_files import check_finite

HELD_OUT_PART = 10  # each tenth item is held out
COMPONENTS, MIXTURE_FRAMES = 32, 50_000


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 if some items cannot be read."""
    check_seconds(arguments.max_seconds)
    check_has_latents(arguments.model, arguments.revision)
    folder = folder_of(arguments)
    model = with_latents(arguments.model, load_coder(arguments.model, arguments, decodes=False))
    measured, skipped = Measured(), dict[str, str]()
    for index, (mean, std) in enumerate(encoded(model, arguments, skipped)):
        measured.add(mean, std, held_out=index % HELD_OUT_PART == HELD_OUT_PART - 1)
    code = check_items(arguments, measured.items, skipped)
    prior = measured.prior(model, arguments)
    sampler = AutoregressiveGaussian(prior.mean, prior.covariances)  # raises an error before anything is written
    replaces = write(folder, prior, arguments)
    print_table({"figure": "latents", "value": prior.info.dataset_name}, figures(prior, sampler), arguments.format)
    print_remark(f"\n{printable(folder / PRIOR_FILE)}\n{replaces}", arguments.format)
    return code


def folder_of(arguments: argparse.Namespace) -> Path:
    """Return the folder that gets the statistics; raises `ValueError` or `OSError` if it cannot get them."""
    if given := [name for name in ("variant", "torch_dtype") if getattr(arguments, name)]:
        raise ValueError(
            f"--{given[0]} changes the weights, and statistics are those of one model; leave it out, or save that "
            f"model in a folder of its own."
        )
    folder = Path(model_location(arguments.model), arguments.subfolder or "")
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {arguments.model}, and the statistics are written into the folder of the model; "
            f"download one from the Hub with `hf download {arguments.model} --local-dir FOLDER`."
        )
    check_writable(folder, "the folder")
    if (folder / PRIOR_FILE).exists() and not arguments.overwrite:
        raise ValueError(f"{folder / PRIOR_FILE} exists; give --overwrite to replace it.")
    return folder


def encoded(
    model: VariationalAutoencoderMixin, arguments: argparse.Namespace, skipped: dict[str, str]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield mean and standard deviation of the latents of each item, (latent_channels, frames)."""
    with tqdm(unit="s of sound", disable=None, leave=False) as bar:
        for name, clip in read_clips(model, arguments, skipped):
            posterior = model.encode(clip[None].to(model.device)).latent_dist
            check_finite(name, posterior.mean, posterior.std)
            bar.update(clip.shape[-1] / model.sampling_rate)
            yield posterior.mean[0].cpu(), posterior.std[0].cpu()


class Measured:
    """Moments and frames of the items of the fit, and the latents of held-out ones."""

    def __init__(self) -> None:
        self.moments, self._reservoir = FrameMoments(), FrameReservoir(MIXTURE_FRAMES)
        self._held_out: list[Tensor] = []

    @property
    def items(self) -> int:
        """Number of items, held-out ones included."""
        return self.moments.items + len(self._held_out)

    def add(self, mean: Tensor, std: Tensor, *, held_out: bool) -> None:
        """Add the posterior of an item, (latent_channels, frames) each."""
        if held_out:
            self._held_out.append(mean)
        else:
            self.moments.add(mean, std)
            self._reservoir.add(mean, std)

    def prior(self, model: VariationalAutoencoderMixin, arguments: argparse.Namespace) -> LatentPrior:
        """Return the prior; says on stderr what it lacks."""
        check_statistics(self.moments.mean.tolist(), self.moments.std.tolist(), len(self.moments.mean))
        name = Path(arguments.dataset_name)
        info = PriorInfo(
            weights=model_fingerprint(model),
            frame_rate=model.frame_rate,
            dataset_name=name.resolve().name if name.exists() else arguments.dataset_name,
            dataset_split=arguments.dataset_split,
            items=self.moments.items,
            frames=self.moments.frames,
            held_out_items=len(self._held_out),
        )
        plain = LatentPrior.of(self.moments, info)
        if not self._held_out:
            print(f"fewer than {HELD_OUT_PART} items: none is held out, so distances have no scale", file=sys.stderr)
        try:
            mixture = fit_mixture(self._reservoir.frames, COMPONENTS)
        except ModuleNotFoundError:
            mixture = None
            print("no mixture is fitted: scikit-learn is missing (extra `latents`)", file=sys.stderr)
        distances = quantiles_of([plain.distance(mean) for mean in self._held_out])
        return LatentPrior.of(self.moments, info, distances=distances, mixture=mixture)


def write(folder: Path, prior: LatentPrior, arguments: argparse.Namespace) -> str:
    """Write both; return a line about the config."""
    prior.save(folder / PRIOR_FILE)
    if not keeps_statistics(folder):
        return "its config has no place for latents_mean and latents_std, which are in this file only"
    if write_statistics(folder, prior.mean.tolist(), prior.std.tolist(), overwrite=arguments.overwrite):
        return "latents_mean and latents_std are written into its config"
    return "its config has latents_mean and latents_std already and keeps them; --overwrite replaces them"


def figures(prior: LatentPrior, sampler: AutoregressiveGaussian) -> list[list[str | float]]:
    """Return name and value of what was measured."""
    rows: list[list[str | float]] = [
        ["items", prior.info.items],
        ["frames", prior.info.frames],
        ["items held out", prior.info.held_out_items],
        ["least mean of a channel", prior.mean.min().item()],
        ["largest mean of a channel", prior.mean.max().item()],
        ["least std of a channel", prior.std.min().item()],
        ["largest std of a channel", prior.std.max().item()],
        ["order of the autoregression", len(sampler.coefficients)],
        ["its spectral radius", sampler.spectral_radius],
    ]
    if prior.distances is not None:
        median = float(prior.distances[len(prior.distances) // 2])
        rows.append(["distance of held-out items, median", median])
    return rows
