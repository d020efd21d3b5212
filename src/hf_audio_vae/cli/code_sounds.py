"""The part of `generate` that is for language models of codes."""

import argparse
import math

import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.pipelines.token_generation import Prior, Sampling, generate_codes, generate_hierarchy

# What only a diffusion pipeline takes.
UNUSED = ("prompt", "class_label", "init_audio", "strength", "mask", "beside")


@torch.no_grad()
def write_sounds_of_codes(arguments: argparse.Namespace) -> None:
    """Let language models write codes, decode them, and write sound and spectrograms.

    Raises:
        ValueError: An option is not for these models, they do not go together, or the autoencoder is another.
    """
    if given := [f"--{name}" for name in UNUSED if getattr(arguments, name)]:
        raise ValueError(f"{arguments.model} is a language model of codes, which takes no {', '.join(given)}.")
    priors = [Prior.from_pretrained(name) for name in (arguments.model, *arguments.upsampler)]
    info = priors[0].info
    autoencoder = load_autoencoder(arguments.autoencoder or info.model).eval()
    if weights_fingerprint(autoencoder) != info.weights:
        raise ValueError(
            f"{arguments.autoencoder or info.model} has other weights than the autoencoder of {arguments.model}; name "
            f"that one with --autoencoder."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for module in (autoencoder, *(prior.model for prior in priors)):
        module.to(device)
    autoencoder.enable_tiling()
    seconds = arguments.seconds or info.segment_units / info.frame_rates[0]
    frames = max(math.ceil(round(seconds * info.frame_rates[0], 6)), 1)
    options = {
        "batch_size": arguments.num_waveforms,
        "sampling": Sampling(temperature=arguments.temperature, top_k=arguments.top_k),
        "generator": torch.Generator().manual_seed(arguments.seed),
    }
    if info.levels:
        levels = generate_hierarchy(priors, frames, **options)
        audios = autoencoder.decode(tuple(level.to(device) for level in levels)).audio_values
    else:
        audios = autoencoder.decode(generate_codes(priors[0], frames, **options).to(device)).audio_values
    rate = autoencoder.sampling_rate
    audios = audios[..., : max(round(seconds * rate), 1)].float().cpu()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for number, audio in enumerate(audios):
        target = arguments.output_dir / f"{number:02d}-generated.wav"
        write_audio(target, audio, rate)
        print(f"{target}: {audio.shape[-1] / rate:.3f} s at {rate} Hz")
    picture = arguments.output_dir / "generated.png"
    shown = {f"generated: {number}": audio for number, audio in enumerate(audios[:4])}
    spectrogram_figure(shown, rate).savefig(picture, dpi=120)
    print(f"spectrograms: {picture}")
