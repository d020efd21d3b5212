"""Held-out sounds, generated sounds, and distances between sets of sounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.audio.resampling import convert_channels, resample
from hf_audio_vae.audio.spectrogram import hann_window, magnitude, stft
from hf_audio_vae.comparison.diffusability.budget import Budget
from hf_audio_vae.comparison.diffusability.denoiser import FrameDenoiser, sampled
from hf_audio_vae.comparison.report import frechet_distance_if_measurable
from hf_audio_vae.comparison.systems import ModelSystem
from hf_audio_vae.evaluation.embeddings import Embedding, embed
from hf_audio_vae.evaluation.set_distances import kernel_distance

WINDOW = 1024  # samples of the mean spectrum; the hop is half of it
LOWEST_POWER = 1e-9  # 90 dB below a full-scale sine
MOST_FRAMES = 4000  # of a batch of generated latents
SHORTEST_SECONDS = 0.1  # of the rest of a clip that was cut


@dataclass(frozen=True)
class HeldOut:
    """Held-out sounds at the rate and with the channels of the comparison.

    Attributes:
        pieces (`list[torch.Tensor]`): Waveforms, (audio_channels, time) each.
        sampling_rate (`int`): In Hz.
    """

    pieces: list[Tensor]
    sampling_rate: int

    @classmethod
    def of(cls, clips: Iterable[tuple[str, Tensor]], sampling_rate: int, budget: Budget) -> "HeldOut":
        """Cut clips into pieces, up to the seconds of the budget.

        Raises:
            ValueError: There are no clips.
        """
        longest, shortest = (round(s * sampling_rate) for s in (budget.piece_seconds, SHORTEST_SECONDS))
        left, pieces = round(budget.held_out_seconds * sampling_rate), []
        for _, clip in clips:
            cut = clip.split(longest, dim=1)
            for piece in (part for part in cut if part.shape[1] >= shortest or len(cut) == 1):
                pieces.append(piece[:, :left])
                left -= pieces[-1].shape[1]
                if left < shortest:
                    return cls(pieces, sampling_rate)
        if not pieces:
            raise ValueError("there are no held-out clips; name a data set of sounds.")
        return cls(pieces, sampling_rate)

    @property
    def seconds(self) -> float:
        """Total length of all pieces."""
        return sum(piece.shape[1] for piece in self.pieces) / self.sampling_rate

    def for_model(self, system: ModelSystem) -> Iterable[tuple[str, Tensor]]:
        """Yield the name of each piece, and the piece at the rate and with the channels of a model."""
        for index, piece in enumerate(self.pieces):
            channels = system.audio_channels or len(piece)
            own = resample(convert_channels(piece, channels), self.sampling_rate, system.model.sampling_rate)
            yield f"held-out piece {index}", own


@torch.no_grad()
def generated_sounds(
    system: ModelSystem,
    denoiser: FrameDenoiser,
    statistics: tuple[Tensor, Tensor],
    held_out: HeldOut,
    *,
    steps: int,
    seed: int,
) -> list[Tensor]:
    """Generate one sound of the length of each held-out piece, (audio_channels, time) each.

    Args:
        system (`ModelSystem`): Model that decodes.
        denoiser (`FrameDenoiser`): Denoiser of the normalised latents of the model.
        statistics (`tuple[torch.Tensor, torch.Tensor]`): Mean and standard deviation of the latents.
        held_out (`HeldOut`): Pieces.
        steps (`int`): Steps of the sampler.
        seed (`int`): Seed of the noise.

    Raises:
        ValueError: A sound is NaN or infinite.
    """
    model: Any = system.model
    ratio = model.sampling_rate / held_out.sampling_rate
    frames = [frame_count(max(1, round(p.shape[1] * ratio)), model.hop_length) for p in held_out.pieces]
    generator = torch.Generator().manual_seed(seed)
    noises = [torch.randn(model.latent_channels, count, generator=generator) for count in frames]
    mean, std = statistics
    sounds: dict[int, Tensor] = {}
    for count in sorted(set(frames)):
        alike = [index for index, other in enumerate(frames) if other == count]
        for start in range(0, len(alike), size := max(1, MOST_FRAMES // count)):
            batch = alike[start : start + size]
            latents = sampled(denoiser, torch.stack([noises[i] for i in batch]).to(model.device), steps).cpu()
            for index, item in zip(batch, latents, strict=True):
                decoded = model.decode((item * std + mean)[None].to(model.device)).sample[0].float().cpu()
                sounds[index] = _like(decoded, model.sampling_rate, held_out.pieces[index], held_out.sampling_rate)
    if not all(bool(sound.isfinite().all()) for sound in sounds.values()):
        raise ValueError(f"{system.name}: a generated sound is NaN or infinite; check the weights of the model.")
    return [sounds[index] for index in range(len(frames))]


def _like(waveform: Tensor, sampling_rate: int, piece: Tensor, rate: int) -> Tensor:
    """Convert a waveform to the rate, the channels and the length of a piece."""
    converted = resample(convert_channels(waveform, len(piece)), sampling_rate, rate)[:, : piece.shape[1]]
    return torch.nn.functional.pad(converted, (0, piece.shape[1] - converted.shape[1]))


class References:
    """Originals that sets of sounds are compared with.

    Args:
        held_out (`HeldOut`): Originals.
        embeddings (`Sequence[Embedding]`): Embeddings of the distances.
    """

    def __init__(self, held_out: HeldOut, embeddings: Sequence[Embedding]) -> None:
        self.held_out, self._embeddings = held_out, embeddings
        self._originals = {embedding.name: self._embedded(embedding, held_out.pieces) for embedding in embeddings}
        self._spectrum = mean_log_spectrum(held_out.pieces)

    def compare(self, sounds: Sequence[Tensor], *, paired: bool = False) -> dict[str, float]:
        """Return the distances of a set of sounds.

        These are the kernel distance (KAD) of each embedding, the Fréchet distance (FAD) of each embedding with more
        vectors than dimensions, and the root mean square over frequencies of the difference of mean log spectra.

        Args:
            sounds (`Sequence[torch.Tensor]`): Waveforms of the lengths of the originals.
            paired (`bool`): Whether the sounds are reconstructions of the originals; see `squared_mmd`.
        """
        figures = {}
        for embedding in self._embeddings:
            originals, embedded = self._originals[embedding.name], self._embedded(embedding, sounds)
            figures[f"KAD {embedding.name}"] = kernel_distance(embedded, originals, paired=paired)
            if (distance := frechet_distance_if_measurable(embedded, originals)) is not None:
                figures[f"FAD {embedding.name}"] = distance
        difference = mean_log_spectrum(sounds) - self._spectrum
        return {**figures, "spectrum_db": float(difference.square().mean().sqrt())}

    def _embedded(self, embedding: Embedding, sounds: Sequence[Tensor]) -> Tensor:
        with torch.no_grad():
            return torch.cat([embed(embedding, sound, self.held_out.sampling_rate) for sound in sounds])


def mean_log_spectrum(sounds: Sequence[Tensor]) -> Tensor:
    """Return the mean level in dB of each frequency over all frames and channels, (bins,). Levels are at least -90 dB.

    Args:
        sounds (`Sequence[torch.Tensor]`): Waveforms, (audio_channels, time) each.
    """
    window = hann_window(WINDOW)
    full_scale = window.sum() / 2  # magnitude of a sine of amplitude 1
    total, frames = torch.zeros(WINDOW // 2 + 1, dtype=torch.float64), 0
    for sound in sounds:
        levels = 20 * magnitude(stft(sound, window, WINDOW // 2) / full_scale, LOWEST_POWER).log10()
        total += levels.double().sum(dim=(0, 2))
        frames += levels.shape[0] * levels.shape[2]
    return total / frames
