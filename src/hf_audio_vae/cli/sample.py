"""The `sample` command."""

import argparse
import math
import sys

import torch

from hf_audio_vae.audio.framing import frame_count, units_of
from hf_audio_vae.cli.durations import DecodingTime
from hf_audio_vae.cli.latent_sounds import write_decoded
from hf_audio_vae.cli.outputs import new_files, older_files, printable
from hf_audio_vae.cli.priors import check_has_latents, stored_prior, with_latents
from hf_audio_vae.cli.sound import load_coder
from hf_audio_vae.latents import LatentPrior, LatentSampler, StandardNormal
from hf_audio_vae.latents.prior import PRIORS
from hf_audio_vae.models import VariationalAutoencoderMixin

MAX_SECONDS, MAX_SOUNDS = 7200, 1000
OUTPUTS = rf"\d{{2,}}-({'|'.join(PRIORS)})\.wav"  # names of the files of this command


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check(arguments)
    check_has_latents(arguments.model, arguments.revision)
    names = [f"{number:02d}-{arguments.prior}.wav" for number in range(arguments.num_waveforms)]
    targets = new_files(arguments.output_dir, names, overwrite=arguments.overwrite)
    model = with_latents(arguments.model, load_coder(arguments.model, arguments))
    sampler, generator = sampler_of(arguments, model), torch.Generator().manual_seed(arguments.seed)
    time = units_of("seconds", arguments.seconds, model.sampling_rate)
    DecodingTime(model).announce(f"{len(targets)} sounds", len(targets) * time)
    for target in targets:
        latents = sampler.sample(
            frame_count(time, model.hop_length),
            generator=generator,
            temperature=arguments.temperature,
            truncation=arguments.truncation,
        )
        write_decoded(target, model, latents[0], time)
        print(f"{printable(target)}: {time / model.sampling_rate:.3f} s at {model.sampling_rate} Hz")
    if line := older_files(arguments.output_dir, OUTPUTS, targets):
        print(line, file=sys.stderr)


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if a number is out of its range."""
    if not 1 <= arguments.num_waveforms <= MAX_SOUNDS:
        raise ValueError(f"--num_waveforms is {arguments.num_waveforms}; give 1 to {MAX_SOUNDS}.")
    if not 0 < arguments.seconds <= MAX_SECONDS:
        raise ValueError(f"--seconds is {arguments.seconds}; give a length above 0, at most {MAX_SECONDS}.")
    if not 0 <= arguments.seed < 2**63:
        raise ValueError(f"--seed is {arguments.seed}; give 0 or more, below 2^63.")
    if not 0 <= arguments.temperature < math.inf:
        raise ValueError(f"--temperature is {arguments.temperature}; give 0 or more, 1 for the measured deviations.")
    if arguments.truncation is not None and not 0 < arguments.truncation < math.inf:
        raise ValueError(f"--truncation is {arguments.truncation}; give a radius above 0, or leave it out.")


def sampler_of(arguments: argparse.Namespace, model: VariationalAutoencoderMixin) -> LatentSampler:
    """Return the distribution of the latents.

    Raises:
        ValueError: It needs a measurement that the model does not have.
    """
    prior = stored_prior(arguments, model)
    if arguments.prior == "standard":
        return standard_normal(arguments.model, model, prior)
    if prior is None:
        raise ValueError(
            f"the latents of {arguments.model} were not measured; run `hf-audio-vae statistics {arguments.model} "
            f"--dataset_name DATA`, or sample N(0, I) with --prior standard."
        )
    return prior.sampler(arguments.prior)


def standard_normal(name: str, model: VariationalAutoencoderMixin, prior: LatentPrior | None) -> StandardNormal:
    """Return N(0, I) in the normalised space of a model; without any statistics, in that of its latents."""
    if model.has_latent_statistics:
        zeros = torch.zeros(1, model.latent_channels, 1, dtype=torch.float64)
        mean = model.denormalize_latents(zeros)[0, :, 0]
        return StandardNormal(mean, model.denormalize_latents(zeros + 1)[0, :, 0] - mean)
    if prior is not None:
        return StandardNormal(prior.mean, prior.std)
    print(
        f"{printable(name)} has no statistics: N(0, I) is decoded as it is, the prior of a VAE in training, which its "
        f"latents may be far from; `hf-audio-vae statistics` measures them",
        file=sys.stderr,
    )
    return StandardNormal(torch.zeros(model.latent_channels), torch.ones(model.latent_channels))
