"""Distance of sounds sampled by each prior of latents from held-out sounds, at several temperatures.

The kernel distance (KAD) of decoded samples from one half of the held-out clips, beside that of the reconstructions of
the other half and of that half itself, which is the least that any generator can be expected to reach. All sets have
equally many clips of one length.

    python benchmarks/latent_sampling.py --dataset_name outputs/excerpts --dataset_split test --max_seconds 4
"""

import argparse
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from command_line import Parser, amount, count, main_or_exit
from torch import Tensor

from hf_audio_vae.audio.framing import frame_count, units_of
from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_model_arguments
from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.priors import stored_prior, with_latents
from hf_audio_vae.cli.sound import load_coder
from hf_audio_vae.evaluation.embeddings import Embedding, embed, embedding_of
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.evaluation.set_distances import KERNEL_SCALE, median_distance, squared_mmd
from hf_audio_vae.latents.prior import PRIORS
from hf_audio_vae.models import AutoencoderModel

EMBEDDINGS = ("log_mel", "musicnn")


class Distances:
    """Kernel distances from one set of sounds; not cut off at 0, so that the noise of the estimate shows.

    Args:
        sounds (`Sequence[torch.Tensor]`): Reference, waveforms (audio_channels, time).
        sampling_rate (`int`): In Hz.
    """

    def __init__(self, sounds: Sequence[Tensor], sampling_rate: int) -> None:
        self._rate = sampling_rate
        self._embeddings = [embedding_of(name, sampling_rate=sampling_rate) for name in EMBEDDINGS]
        self._references = [self._embedded(embedding, sounds) for embedding in self._embeddings]

    def of(self, sounds: Sequence[Tensor]) -> list[float]:
        """Return the distance by each embedding."""
        return [
            KERNEL_SCALE * squared_mmd(self._embedded(embedding, sounds), reference, median_distance(reference))
            for embedding, reference in zip(self._embeddings, self._references, strict=True)
        ]

    def _embedded(self, embedding: Embedding, sounds: Sequence[Tensor]) -> Tensor:
        return torch.cat([embed(embedding, sound, self._rate) for sound in sounds])


def clips_of(model: AutoencoderModel, arguments: argparse.Namespace) -> list[Tensor]:
    """Return an even number of clips of `max_seconds`, spread over the data set; shorter items are left out."""
    time, skipped, clips = units_of("max_seconds", arguments.max_seconds, model.sampling_rate), dict[str, str](), []
    for index, (_, clip) in enumerate(read_clips(model, arguments, skipped)):
        if index % arguments.every == 0 and clip.shape[-1] == time:
            clips.append(clip)
        if len(clips) == 2 * arguments.clips:
            break
    check_items(arguments, len(clips), skipped)
    return clips[: len(clips) // 2 * 2]


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print a row for each set of sounds."""
    parser = Parser(__doc__)
    add_model_arguments(parser)
    add_dataset_arguments(parser)
    parser.add_argument("--clips", type=count, default=60, help="clips of each set")
    parser.add_argument("--every", type=count, default=1, help="take every n-th item")
    parser.add_argument("--temperatures", type=amount, nargs="*", default=[0.5, 0.7, 1.0])
    arguments = parser.parse_args(argv)
    model = with_latents(arguments.model, load_coder(arguments.model, arguments))
    prior = stored_prior(arguments, model)
    if prior is None:
        raise ValueError(f"{arguments.model} was not measured; run `hf-audio-vae statistics` first.")
    clips = clips_of(model, arguments)
    reference, others = clips[::2], clips[1::2]
    distances, time = Distances(reference, model.sampling_rate), reference[0].shape[-1]
    rows: list[list[str | float]] = [["other held-out clips", *distances.of(others)]]
    rows.append(["their reconstructions", *distances.of([model(clip[None]).sample[0] for clip in others])])
    rows.append(["silence", *distances.of([torch.zeros_like(clip) + 1e-5 for clip in others])])
    rows.append(
        ["white noise of their level", *distances.of([_noise_like(clip, seed) for seed, clip in enumerate(others)])]
    )
    frames = frame_count(time, model.hop_length)
    for name in PRIORS:
        sampler = prior.sampler(name)
        for temperature in arguments.temperatures:
            generator = torch.Generator().manual_seed(0)
            drawn = [sampler.sample(frames, generator=generator, temperature=temperature) for _ in others]
            sounds = [model.decode(latents).sample[0, :, :time] for latents in drawn]
            rows.append([f"{name}, temperature {temperature:g}", *distances.of(sounds)])
    print(table(["sounds", *(f"KAD {name}" for name in EMBEDDINGS)], rows))
    print(f"{len(others)} clips of {time / model.sampling_rate:g} s in each set; prior of {prior.info.dataset_name}")


def _noise_like(clip: Tensor, seed: int) -> Tensor:
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(noise, dim=-1) * clip.norm(dim=-1, keepdim=True)


if __name__ == "__main__":
    main_or_exit(main)
