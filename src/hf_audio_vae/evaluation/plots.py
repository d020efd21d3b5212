import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.audio.spectrogram import log_spectrogram
from hf_audio_vae.evaluation.codes import CodeStatistics
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE, LatentStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_DB = -80.0  # where `log_spectrogram` ends
ACTIVE, INACTIVE = "tab:blue", "tab:red"
MAX_TICKS = 64  # channel numbers that fit under each other's panels


def reconstruction_figure(original: Tensor, reconstruction: Tensor, sampling_rate: int, title: str = "") -> "Figure":
    """Draw the spectrograms of a waveform, its reconstruction and their difference, on one scale.

    Args:
        original (`torch.Tensor` of shape `(audio_channels, time)`): What went in; channels are averaged.
        reconstruction (`torch.Tensor`, same shape): What came out.
        sampling_rate (`int`): In Hz.
        title (`str`): Line above the picture.

    Returns:
        `matplotlib.figure.Figure`: Frequency in kHz over seconds, level in dB of a full-scale sine.
    """
    rows = {"original": original, "reconstruction": reconstruction, "residual": original - reconstruction}
    return spectrogram_figure(rows, sampling_rate, title)


def spectrogram_figure(waveforms: Mapping[str, Tensor], sampling_rate: int, title: str = "") -> "Figure":
    """Draw the spectrograms of waveforms under each other, on one scale.

    Args:
        waveforms (`Mapping[str, torch.Tensor]`): (audio_channels, time) each, by name; channels are averaged.
        sampling_rate (`int`): In Hz.
        title (`str`): Line above the picture.

    Returns:
        `matplotlib.figure.Figure`: Frequency in kHz over seconds, level in dB of a full-scale sine.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 2 * len(waveforms)), layout="constrained")
    panels = figure.subplots(len(waveforms), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, (name, waveform) in zip(panels, waveforms.items(), strict=True):
        level = log_spectrogram(waveform.detach().float().cpu().mean(dim=0))  # (bins, frames)
        extent = (0.0, waveform.shape[-1] / sampling_rate, 0.0, sampling_rate / 2000)
        image = panel.imshow(
            level.numpy(), origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=0.0, cmap="magma"
        )
        panel.set_ylabel(f"{name}\nkHz")
    panels[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=panels, label="dB full scale")
    figure.suptitle(title)
    return figure


def latents_figure(statistics: LatentStatistics, title: str = "") -> "Figure":
    """Draw what each latent channel carries and how it is distributed, the channel with the most bits first.

    Args:
        statistics (`LatentStatistics`): Of a data set.
        title (`str`): Line above the picture.

    Returns:
        `matplotlib.figure.Figure`: By channel, bits a second, mean and standard deviation beside the prior's, and
        excess kurtosis, inactive channels in red; below, the eigenvalues of the posterior mean's covariance.

    Raises:
        ValueError: No posterior has been added.
    """
    from matplotlib.figure import Figure

    order = statistics.kl_nats.argsort(descending=True)
    places = np.arange(len(order))
    colors = [ACTIVE if active else INACTIVE for active in statistics.active[order].tolist()]
    mean, std = statistics.mean[order].numpy(), statistics.std[order].numpy()
    figure = Figure(figsize=(11, 10), layout="constrained")
    bits, spread, kurtosis, spectrum = figure.subplots(4, 1)
    bits.bar(places, statistics.bits_per_second[order].numpy(), color=colors)
    bits.set_ylabel("KL\nbits a second")
    count = int(statistics.active.sum())
    meaning = f"blue: active, the posterior mean's variance is at least {ACTIVE_VARIANCE}; red: inactive"
    bits.set_title(f"{count} of {len(order)} channels active ({meaning})", fontsize="medium")
    spread.axhspan(-1, 1, color="0.9", label="prior: 0 ± 1")
    spread.errorbar(places, mean, yerr=std, fmt="none", ecolor=colors, elinewidth=2)
    spread.scatter(places, mean, color=colors, s=16, zorder=3)
    spread.set_ylabel("mean ± std")
    spread.legend(loc="upper right", fontsize="small")
    kurtosis.bar(places, statistics.excess_kurtosis[order].numpy(), color=colors)
    kurtosis.axhline(0, color="black", linewidth=0.8)
    kurtosis.update_datalim([(0, -0.5), (0, 0.5)])  # nothing is made of rounding
    kurtosis.autoscale_view()
    kurtosis.set_ylabel("excess kurtosis")
    for panel in (bits, spread, kurtosis):
        _number(panel, order.tolist())
    kurtosis.set_xlabel("latent channel")
    _draw_spectrum(spectrum, statistics)
    figure.suptitle(title)
    return figure


def codes_figure(statistics: CodeStatistics, title: str = "") -> "Figure":
    """Draw how much of each codebook is used, what its codes carry, and how often each comes.

    Args:
        statistics (`CodeStatistics`): Of a data set.
        title (`str`): Line above the picture.

    Returns:
        `matplotlib.figure.Figure`: By codebook, usage beside the most that so few frames let expect, perplexity as a
        share of the codebook, and the codes' entropy within their bitrate; below, the codes' shares, the most frequent
        first, relative to equal shares.

    Raises:
        ValueError: No codes have been added.
    """
    from matplotlib.figure import Figure

    sizes = torch.tensor(statistics.codebook_sizes)
    places = np.arange(len(sizes))
    figure = Figure(figsize=(11, 9), layout="constrained")
    shares, bits, frequencies = figure.subplots(3, 1)
    shares.bar(places - 0.2, statistics.usage.numpy(), width=0.4, color=ACTIVE, label="usage")
    perplexity = (statistics.perplexity / sizes).numpy()
    shares.bar(places + 0.2, perplexity, width=0.4, color="tab:cyan", label="perplexity")
    expected = statistics.uniform_usage.numpy()
    shares.hlines(expected, places - 0.4, places, color="black", label="usage expected of equally likely codes")
    shares.set_ylim(0, 1.05)
    shares.set_ylabel("share of\nthe codebook")
    shares.legend(loc="lower right", fontsize="small", ncols=3)
    dead = int(statistics.dead_codes.sum())
    shares.set_title(f"{dead} of {int(sizes.sum())} codes never used", fontsize="medium")
    bits.bar(places, statistics.nominal_bits_per_second.numpy(), color="0.85", label="bitrate")
    bits.bar(places, statistics.entropy_bits_per_second.numpy(), color=ACTIVE, label="entropy of the codes")
    bits.set_ylabel("bits a second")
    bits.set_title(f"{statistics.bitrate_efficiency:.1%} of the bitrate are used", fontsize="medium")
    bits.legend(loc="lower right", fontsize="small", ncols=2)
    for panel in (shares, bits):
        _number(panel, list(range(len(sizes))))
    bits.set_xlabel("codebook")
    _draw_frequencies(frequencies, statistics)
    figure.suptitle(title)
    return figure


def figure_pixels(figure: "Figure") -> Tensor:
    """Render a figure for a tracker; -> uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _number(panel: "Axes", order: list[int]) -> None:
    """Write the numbers of channels or codebooks in their order, as many as fit."""
    step = math.ceil(len(order) / MAX_TICKS)
    labels = [str(channel) for channel in order[::step]]
    panel.set_xticks(range(0, len(order), step), labels, fontsize=7, rotation=90 if step > 1 else 0)
    panel.set_xlim(-0.6, len(order) - 0.4)


def _draw_spectrum(panel: "Axes", statistics: LatentStatistics) -> None:
    """Eigenvalues of the posterior mean's covariance, the largest first, and their effective rank."""
    eigenvalues = statistics.eigenvalues.numpy()
    panel.plot(np.arange(1, len(eigenvalues) + 1), eigenvalues, "o-", color="0.3", markersize=4)
    if eigenvalues[0] > 0:
        panel.set_yscale("log")
        # Further down it is rounding.
        panel.set_ylim(max(eigenvalues[-1], 1e-9 * eigenvalues[0]) / 2, 2 * eigenvalues[0])
    panel.set_xlim(0, len(eigenvalues) + 0.5)
    rank = statistics.effective_rank
    panel.axvline(rank, color="tab:orange", label=f"effective rank {rank:.1f}")
    panel.set_ylabel("eigenvalue of\nthe means' covariance")
    panel.set_xlabel("principal axis")
    panel.legend(loc="upper right", fontsize="small")


def _draw_frequencies(panel: "Axes", statistics: CodeStatistics) -> None:
    """Each codebook's shares, sorted, times its size: 1 is an equal share; codes never used have no place."""
    from matplotlib import colormaps

    colors = colormaps["viridis"](np.linspace(0, 0.9, len(statistics.codebook_sizes)))
    for codebook, (counts, size) in enumerate(zip(statistics.counts, statistics.codebook_sizes, strict=True)):
        used = counts[counts > 0].sort(descending=True).values.double()
        ranks = np.arange(1, len(used) + 1) / size
        panel.plot(ranks, (used / used.sum() * size).numpy(), ".-", color=colors[codebook], markersize=3)
    panel.axhline(1, color="black", linewidth=0.8, linestyle="--", label="equal shares")
    panel.plot([], [], color=colors[0], label="codebook 0")
    if len(colors) > 1:
        panel.plot([], [], color=colors[-1], label=f"codebook {len(colors) - 1}")
    panel.set_yscale("log")
    panel.set_xlim(0, 1.01)
    panel.set_ylabel("share of a code,\n1: equal shares")
    panel.set_xlabel("rank of the code, as a share of the codebook")
    panel.legend(loc="upper right", fontsize="small")
