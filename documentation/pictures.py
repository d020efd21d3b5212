"""The pictures of docs/concepts.md, from the sounds in data/ and the model of the package.

python -m documentation.pictures docs/images
"""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.evaluation import mel_spectrogram_distance
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.models import load_vae
from hf_audio_vae.modules.quantization import residual_vector_quantizer

DATA = Path(__file__).parents[1] / "data"
COLORS = 80  # of a palette, which keeps files small
BITS = 1 / torch.tensor(2.0).log().item()  # in a nat


class Sounds:
    """The model, and the starts of held-out sounds with their posteriors."""

    def __init__(self, seconds: float = 4.0) -> None:
        self.model = load_vae("stft-vae-24khz")
        self.seconds = seconds
        self.held_out = self.read("held_out")
        self.posteriors = {name: self.model.encode(waveform).latent_dist for name, waveform in self.held_out.items()}

    def read(self, split: str) -> dict[str, Tensor]:
        """Return the starts of the sounds of a folder, (1, 1, time) each."""
        clips = clip_starts(
            load_audio_stream(str(DATA / split)), sampling_rate=24000, audio_channels=1, max_seconds=self.seconds
        )
        return {Path(name).stem: waveform[None] for name, waveform in clips}

    def decode(self, latents: Tensor, time: int) -> Tensor:
        """Return the reconstruction of a sound of this length."""
        return self.model.decode(latents).sample[..., :time]

    def mel_distance(self, latents: dict[str, Tensor]) -> float:
        """Return the mean mel distance of all sounds from what these latents give."""
        distances = []
        for name, waveform in self.held_out.items():
            decoded = self.decode(latents[name], waveform.shape[-1])
            distances.append(mel_spectrogram_distance(decoded, waveform, 24000))
        return torch.cat(distances).mean().item()


def frame_energy(waveform: Tensor, hop_length: int) -> Tensor:
    """(1, 1, time) -> (frames,)."""
    padded = F.pad(waveform, (0, -waveform.shape[-1] % hop_length))
    return padded.reshape(-1, hop_length).square().mean(dim=1)


def kl_of_a_sound(sounds: Sounds) -> Figure:
    """Draw the KL of each channel and frame of a sound, above its sum over channels."""
    kl = BITS * sounds.posteriors["speech_en_0890"].kl()[0]  # (latent_channels, frames)
    energy = frame_energy(sounds.held_out["speech_en_0890"], sounds.model.hop_length)
    bits = kl.sum(dim=0)
    print(f"bits of a frame: {bits.min():.0f} to {bits.max():.0f}; least of a channel: {kl.mean(dim=1).min():.1f}")
    quiet, loud = bits[energy < energy.quantile(0.15)].mean(), bits[energy > energy.median()].mean()
    print(f"bits of a frame, quietest 15 %: {quiet:.0f}, louder half: {loud:.0f}")
    kl = kl[kl.mean(dim=1).argsort(descending=True)]
    seconds = kl.shape[1] / sounds.model.frame_rate
    figure = Figure(figsize=(7, 4), layout="constrained")
    channels, total = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    image = channels.imshow(kl.numpy(), aspect="auto", extent=(0, seconds, len(kl), 0), cmap="magma")
    channels.set_ylabel("latent channel, by KL")
    figure.colorbar(image, ax=channels, label="KL in bits")
    total.plot(torch.arange(kl.shape[1]) / sounds.model.frame_rate, kl.sum(dim=0))
    total.set(xlabel="seconds", ylabel="bits per frame", ylim=(0, None))
    return figure


def rate_of_kept_channels(sounds: Sounds) -> Figure:
    """Draw the mel distance over the KL of the channels that are kept; the others are the mean of the data."""
    generator = torch.Generator().manual_seed(0)
    drawn = {name: posterior.sample(generator) for name, posterior in sounds.posteriors.items()}
    frames = torch.cat([posterior.kl()[0] for posterior in sounds.posteriors.values()], dim=1)
    rates = BITS * frames.mean(dim=1) * sounds.model.frame_rate / 1000
    order = rates.argsort(descending=True)
    mean = torch.tensor(sounds.model.config.latents_mean)[:, None]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    points = []
    for count in (0, 2, 4, 8, 12, 16, 24, 32):
        kept = torch.zeros(len(order), 1, dtype=torch.bool)
        kept[order[:count]] = True
        distance = sounds.mel_distance({name: torch.where(kept, z, mean) for name, z in drawn.items()})
        points.append((rates[order[:count]].sum().item(), distance))
        axes.annotate(f"{count}", points[-1], xytext=(4, 4), textcoords="offset points")
    print("kbit/s and mel distance of the channels with the largest KL:", points)
    axes.plot(*zip(*points, strict=True), marker="o")
    axes.set(xlabel="KL of the channels that are kept, kbit/s", ylabel="mel distance (↓)")
    return figure


def quantized_latents(sounds: Sounds) -> Figure:
    """Draw the mel distance over the number of codebooks: k-means of latents of other sounds, 256 codes each."""
    model = sounds.model
    encoded = [model.encode(waveform).latent_dist.mode()[0] for waveform in sounds.read("train").values()]
    latents = torch.cat(encoded, dim=1)[None]  # (1, latent_channels, frames)
    quantizer = residual_vector_quantizer(model.config.latent_channels, codebook_size=256, decay=0.9).train()
    for _ in range(30):
        quantizer(latents, None, None, torch.Generator().manual_seed(0))
    quantizer.eval()
    means = {name: posterior.mode() for name, posterior in sounds.posteriors.items()}
    counts = (1, 2, 3, 4, 6, 8)
    distances = [
        sounds.mel_distance(
            {name: quantizer.decode(quantizer.encode(z, num_codebooks=n)) for name, z in means.items()}
        )
        for n in counts
    ]
    print("mel distance by number of codebooks:", dict(zip(counts, distances, strict=True)))
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    rate = 8 * model.frame_rate / 1000  # kbit/s of one codebook
    axes.plot([n * rate for n in counts], distances, marker="o", label="1, 2, 3, 4, 6 and 8 codebooks")
    axes.axhline(sounds.mel_distance(means), color="0.5", linestyle="--", label="latents without quantization")
    axes.set(xlabel="kbit/s of the codes", ylabel="mel distance (↓)", xlim=(0, None))
    axes.legend()
    return figure


def noised_latents(sounds: Sounds) -> Figure:
    """Draw a sound decoded from its latents with more and more noise: the path that a diffusion model reverses."""
    name = "speech_en_0890"
    latents = sounds.model.normalize_latents(sounds.posteriors[name].mode())
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    waveforms = {}
    for t in (0.0, 0.25, 0.5, 1.0):
        mixed = sounds.model.denormalize_latents((1 - t) * latents + t * noise)
        waveforms[f"t = {t:g}"] = sounds.decode(mixed, sounds.held_out[name].shape[-1])[0]
    figure = spectrogram_figure(waveforms, 24000)
    figure.set_size_inches(6.5, 5)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a picture with a palette of few colors."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Draw all pictures into a folder."""
    (folder,) = map(Path, argv)
    sounds = Sounds()
    save(kl_of_a_sound(sounds), folder / "kl_of_a_sound.png")
    save(rate_of_kept_channels(sounds), folder / "rate_of_kept_channels.png")
    save(quantized_latents(sounds), folder / "quantized_latents.png")
    save(noised_latents(sounds), folder / "noised_latents.png")


if __name__ == "__main__":
    main(sys.argv[1:])
