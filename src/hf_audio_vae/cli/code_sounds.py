"""The `generate` command for language models of codes."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.cli.sound import load_coder, read_for
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.pipelines.code_latents import CodeLatents, encode_codes, latents_between
from hf_audio_vae.pipelines.code_sounds import frames_of, generate_sounds, length_of
from hf_audio_vae.pipelines.token_generation import Prior, Sampling
from hf_audio_vae.tokens import CodesInfo


@torch.no_grad()
def sounds_of_codes(arguments: argparse.Namespace) -> tuple[Tensor, int]:
    """Generate codes with language models and decode them -> (batch, audio_channels, time), and their rate in Hz.

    Raises:
        ValueError: The models do not match, their autoencoder is missing or differs, or the sounds are not finite.
    """
    sampling = sampling_of(arguments)
    priors, autoencoder = priors_of(arguments)
    info = priors[0].info
    seconds = length_of(priors, arguments.audio_end_in_s)
    units_of("audio_end_in_s", seconds, autoencoder.sampling_rate)  # before files are read

    def read_codes(path: Path) -> Tensor:
        return CodeLatents(priors[0], autoencoder).codes_of(read_for(autoencoder, path)[None].to(autoencoder.device))

    latents = given_latents(arguments, priors[0], read_codes)
    frames = None if info.levels else frames_of(priors, seconds)  # a hierarchy has several
    with frames_bar(frames) as progress:
        audios = generate_sounds(
            priors,
            autoencoder,
            seconds,
            batch_size=arguments.num_waveforms,
            latents=latents,
            sampling=sampling,
            generator=torch.Generator().manual_seed(arguments.seed),
            progress=progress,
        )
    return audios, autoencoder.sampling_rate


def priors_of(arguments: argparse.Namespace) -> tuple[list[Prior], AutoencoderModel]:
    """Load the language models and the autoencoder of the arguments, on its device; raises `ValueError`."""
    priors = [Prior.from_pretrained(name) for name in (arguments.model, *(arguments.upsampler or ()))]
    info = priors[0].info
    if arguments.upsampler and not info.levels:
        raise ValueError(f"the codes of {arguments.model} have no levels; leave out --upsampler.")
    if len(info.levels) == 1 and len(priors) == 1 and info.levels[0] > 0:
        finer = " ".join(f"LEVEL_{level}" for level in reversed(range(info.levels[0])))
        raise ValueError(
            f"{arguments.model} generates the codes of level {info.levels[0]} alone; name the language models of the "
            f"finer levels, from coarse to fine: --upsampler {finer}."
        )
    autoencoder = autoencoder_of(arguments, info)
    for prior in priors:
        prior.check_autoencoder(autoencoder)
        nn.Module.to(prior.model, autoencoder.device)
    return priors, autoencoder


@contextmanager
def frames_bar(total: int | None) -> Iterator[Callable[[int], object]]:
    """Yield a function that moves a progress bar by a number of frames; the bar is shown on a terminal only."""
    with tqdm(total=total, unit="frame", disable=None, leave=False) as bar:
        yield bar.update


def given_latents(arguments: argparse.Namespace, prior: Prior, codes_of: Callable[[Path], Tensor]) -> Tensor | None:
    """Return the latents of --init_audio, or those from there to --interpolate_to, (num_waveforms, ...); else `None`.

    Args:
        arguments (`argparse.Namespace`): Of the command.
        prior (`Prior`): The language model.
        codes_of (`Callable`): Reads the codes of a file, (1, num_codebooks, frames).

    Raises:
        ValueError: The model has no latents, a file cannot be read, or --interpolate_to is given alone.
    """
    paths = [path for path in (arguments.init_audio, arguments.interpolate_to) if path]
    if paths and not prior.has_latents:
        raise ValueError(
            f"{arguments.model} has no latents and does not accept --init_audio and --interpolate_to; leave them out, "
            f"or name a TokenVAE."
        )
    if not paths:
        return None
    if not arguments.init_audio:
        raise ValueError("--interpolate_to has no effect without --init_audio; name the first sound.")
    if arguments.interpolate_to and arguments.num_waveforms < 2:
        raise ValueError("--interpolate_to needs --num_waveforms 2 or more, the number of steps with both ends.")
    posteriors = [encode_codes(prior, codes_of(path)[:, :, : prior.info.segment_units]) for path in paths]
    if arguments.interpolate_to:
        return latents_between(torch.cat([posterior.mode() for posterior in posteriors]), arguments.num_waveforms)
    generator = torch.Generator().manual_seed(arguments.seed)
    return torch.cat([posteriors[0].sample(generator) for _ in range(arguments.num_waveforms)])


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """Return the sampling options of the command."""
    settings = {name: getattr(arguments, name) for name in ("temperature", "top_k", "top_p")}
    return Sampling(**{name: value for name, value in settings.items() if value is not None})


def autoencoder_of(arguments: argparse.Namespace, info: CodesInfo) -> AutoencoderModel:
    """Load the autoencoder of a language model, from --autoencoder or from its path in the model's metadata.

    Raises:
        ValueError: The autoencoder is missing, or has other weights or configuration values.
    """
    name = arguments.autoencoder or info.model
    moved = arguments.autoencoder is not None
    location = argparse.Namespace(
        subfolder=None if moved else info.subfolder,
        revision=None if moved or Path(name).is_dir() else info.revision,
        variant=None,
        torch_dtype=None,
    )
    try:
        autoencoder = load_coder(name, location)
    except ValueError as error:
        raise ValueError(f"the autoencoder of {arguments.model}: {error} Name it with --autoencoder.") from error
    if differing := fingerprint_differences(info.weights, model_fingerprint(autoencoder)):
        raise ValueError(
            f"{name} has other {' and '.join(differing)} than the autoencoder of {arguments.model}; name "
            f"that one with --autoencoder."
        )
    return autoencoder
