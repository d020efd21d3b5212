import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.audio.framing import blocks_with_margins
from hf_audio_vae.audio.spectrogram import log_spectrogram
from hf_audio_vae.evaluation.codes import CodeStatistics
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE, LatentStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_DB = -80.0  # lowest level of `log_spectrogram`
ACTIVE, INACTIVE = "tab:blue", "tab:red"
MAX_TICKS = 64  # maximum number of tick labels on an axis
MAX_COLUMNS = 2048  # of a spectrogram; twice the pixels
SPECTROGRAM_HOP = 256
BLOCK = 1 << 18  # samples whose spectrogram is computed at once

Read = Callable[[int, int], Tensor]


def reconstruction_figure(original: Tensor, reconstruction: Tensor, sampling_rate: int, title: str = "") -> "Figure":
    """Draw the spectrograms of a waveform, its reconstruction and the residual, with a common scale.

    Args:
        original (`torch.Tensor` of shape `(audio_channels, time)`): Input of the model; channels are averaged.
        reconstruction (`torch.Tensor`, same shape): Output of the model.
        sampling_rate (`int`): Sampling rate in Hz.
        title (`str`): Title of the figure.

    Returns:
        `matplotlib.figure.Figure`: Frequency in kHz over time in seconds, level in dB relative to a full-scale sine.
    """
    waveforms = {"original": original, "reconstruction": reconstruction, "residual": original - reconstruction}
    return spectrogram_figure(waveforms, sampling_rate, title)


def reconstruction_figure_in_blocks(
    original: Read, reconstruction: Read, time: int, sampling_rate: int, title: str = ""
) -> "Figure":
    """`reconstruction_figure` of signals of any length, with constant memory.

    Args:
        original (`Callable`): ``original(start, stop)`` returns these samples, (audio_channels, stop - start).
        reconstruction (`Callable`): The same for the output of the model.
        time (`int`): Length in samples.
        sampling_rate (`int`): Sampling rate in Hz.
        title (`str`): Title of the figure.
    """

    def residual(start: int, stop: int) -> Tensor:
        return original(start, stop) - reconstruction(start, stop)

    signals = {"original": original, "reconstruction": reconstruction, "residual": residual}
    levels = {name: _Levels(spectrogram_columns(read, time), time, sampling_rate) for name, read in signals.items()}
    return _spectrograms(levels, title)


def spectrogram_figure(
    waveforms: Mapping[str, Tensor], sampling_rate: int | Mapping[str, int], title: str = ""
) -> "Figure":
    """Draw the spectrograms of several waveforms, one below the other, with a common scale.

    Args:
        waveforms (`Mapping[str, torch.Tensor]`): Waveforms (audio_channels, time) by name; channels are averaged.
        sampling_rate (`int` or `Mapping[str, int]`): Sampling rate in Hz, of all or of each.
        title (`str`): Title of the figure.

    Returns:
        `matplotlib.figure.Figure`: Frequency in kHz over time in seconds, level in dB relative to a full-scale sine.
    """

    def reader_of(waveform: Tensor) -> Read:
        return lambda start, stop: waveform[:, start:stop].detach().float().cpu()

    rates = sampling_rate if isinstance(sampling_rate, Mapping) else dict.fromkeys(waveforms, sampling_rate)
    levels = {
        name: _Levels(spectrogram_columns(reader_of(x), x.shape[-1]), x.shape[-1], rates[name])
        for name, x in waveforms.items()
    }
    return _spectrograms(levels, title)


def spectrogram_columns(read: Read, time: int, max_columns: int = MAX_COLUMNS) -> Tensor:
    """Return the level in dB of at most `max_columns` columns, (bins, columns).

    A column is the mean power of one or several frames of 1024 samples, 256 apart.

    Args:
        read (`Callable`): ``read(start, stop)`` returns these samples, (audio_channels, stop - start).
        time (`int`): Length in samples.
        max_columns (`int`): Maximum number of columns.
    """
    frames_per_column = math.ceil((1 + time // SPECTROGRAM_HOP) / max_columns)
    column = frames_per_column * SPECTROGRAM_HOP  # samples
    columns = []
    for block, segment in blocks_with_margins(time, math.ceil(BLOCK / column) * column, 2 * SPECTROGRAM_HOP):
        levels = log_spectrogram(read(segment.start, segment.stop).mean(dim=0))  # (bins, frames)
        first = (block.start - segment.start) // SPECTROGRAM_HOP
        last = None if block.stop == time else first + len(block) // SPECTROGRAM_HOP
        columns += [_mean_level(part) for part in levels[:, first:last].split(frames_per_column, dim=1)]
    return torch.stack(columns, dim=1)


def _mean_level(levels: Tensor) -> Tensor:
    """Level in dB of the mean power; (bins, frames) -> (bins,)."""
    return levels[:, 0] if levels.shape[1] == 1 else 10 * (10 ** (levels / 10)).mean(dim=1).log10()


class _Levels(NamedTuple):
    """Levels in dB, (bins, columns), of a signal of `time` samples."""

    levels: Tensor
    time: int
    sampling_rate: int


def _spectrograms(signals: Mapping[str, _Levels], title: str) -> "Figure":
    """Draw signals one below the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 2 * len(signals)), layout="constrained")
    panels = figure.subplots(len(signals), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, (name, (levels, time, rate)) in zip(panels, signals.items(), strict=True):
        extent = (0.0, time / rate, 0.0, rate / 2000)
        image = panel.imshow(
            levels.numpy(), origin="lower", aspect="auto", extent=extent, vmin=FLOOR_DB, vmax=0.0, cmap="magma"
        )
        panel.set_ylabel(f"{name}\nkHz", parse_math=False)
    seconds = max(signal.time / signal.sampling_rate for signal in signals.values())
    top = max(signal.sampling_rate for signal in signals.values()) / 2000
    panels[-1].set(xlim=(0, seconds), ylim=(0, top), xlabel="seconds")
    figure.colorbar(image, ax=panels, label="dB full scale")
    figure.suptitle(title, parse_math=False)  # a file name may have dollar signs
    return figure


def latents_figure(statistics: LatentStatistics, title: str = "") -> "Figure":
    """Draw the information and the distribution of each latent channel, in `LatentStatistics.order`.

    Args:
        statistics (`LatentStatistics`): Statistics of a data set.
        title (`str`): Title of the figure.

    Returns:
        `matplotlib.figure.Figure`: Panels by channel with bits per second (the variance, if there is no noise), mean
        and standard deviation compared with the prior, and excess kurtosis, with inactive channels in red. The last
        panel has the eigenvalues of the posterior mean's covariance.

    Raises:
        ValueError: No posterior has been added.
    """
    from matplotlib.figure import Figure

    order = statistics.order
    positions = np.arange(len(order))
    colors = [ACTIVE if active else INACTIVE for active in statistics.active[order].tolist()]
    mean, std = statistics.mean[order].numpy(), statistics.std[order].numpy()
    figure = Figure(figsize=(11, 10), layout="constrained")
    bits, spread, kurtosis, spectrum = figure.subplots(4, 1)
    heights = statistics.bits_per_second if statistics.has_information else statistics.mean_variance
    bits.bar(positions, heights[order].numpy(), color=colors)
    bits.set_ylabel("KL\nbits per second" if statistics.has_information else "variance\nwithout noise")
    count = int(statistics.active.sum())
    meaning = f"blue: active, the posterior mean's variance is at least {ACTIVE_VARIANCE}; red: inactive"
    bits.set_title(f"{count} of {len(order)} channels active ({meaning})", fontsize="medium")
    spread.axhspan(-1, 1, color="0.9", label="prior: 0 ± 1")
    spread.errorbar(positions, mean, yerr=std, fmt="none", ecolor=colors, elinewidth=2)
    spread.scatter(positions, mean, color=colors, s=16, zorder=3)
    spread.set_ylabel("mean ± std")
    spread.legend(loc="upper right", fontsize="small")
    kurtosis.bar(positions, statistics.excess_kurtosis[order].numpy(), color=colors)
    kurtosis.axhline(0, color="black", linewidth=0.8)
    kurtosis.update_datalim([(0, -0.5), (0, 0.5)])  # hides rounding errors
    kurtosis.autoscale_view()
    kurtosis.set_ylabel("excess kurtosis")
    for panel in (bits, spread, kurtosis):
        _label_indices(panel, order.tolist())
    kurtosis.set_xlabel("latent channel")
    _draw_spectrum(spectrum, statistics)
    figure.suptitle(title, parse_math=False)
    return figure


def codes_figure(statistics: CodeStatistics, title: str = "") -> "Figure":
    """Draw the usage, entropy and code frequencies of each codebook.

    Args:
        statistics (`CodeStatistics`): Statistics of a data set.
        title (`str`): Title of the figure.

    Returns:
        `matplotlib.figure.Figure`: Panels by codebook with usage compared with the usage expected of equally likely
        codes, perplexity as a share of the codebook size, and entropy compared with the bitrate. The last panel has
        the frequency of each code, the most frequent first, relative to equally likely codes.

    Raises:
        ValueError: No codes have been added.
    """
    from matplotlib.figure import Figure

    sizes = torch.tensor(statistics.codebook_sizes)
    positions = np.arange(len(sizes))
    figure = Figure(figsize=(11, 9), layout="constrained")
    shares, bits, frequencies = figure.subplots(3, 1)
    shares.bar(positions - 0.2, statistics.usage.numpy(), width=0.4, color=ACTIVE, label="usage")
    perplexity = (statistics.perplexity / sizes).numpy()
    shares.bar(positions + 0.2, perplexity, width=0.4, color="tab:cyan", label="perplexity")
    expected = statistics.uniform_usage.numpy()
    shares.hlines(expected, positions - 0.4, positions, color="black", label="usage expected of equally likely codes")
    shares.set_ylim(0, 1.05)
    shares.set_ylabel("share of\nthe codebook")
    shares.legend(loc="lower right", fontsize="small", ncols=3)
    dead = int(statistics.dead_codes.sum())
    shares.set_title(f"{dead} of {int(sizes.sum())} codes never used", fontsize="medium")
    bits.bar(positions, statistics.nominal_bits_per_second.numpy(), color="0.85", label="bitrate")
    bits.bar(positions, statistics.entropy_bits_per_second.numpy(), color=ACTIVE, label="entropy of the codes")
    bits.set_ylabel("bits per second")
    bits.set_title(f"{statistics.bitrate_efficiency:.1%} of the bitrate is used", fontsize="medium")
    bits.legend(loc="lower right", fontsize="small", ncols=2)
    for panel in (shares, bits):
        _label_indices(panel, list(range(len(sizes))))
    bits.set_xlabel("codebook")
    _draw_frequencies(frequencies, statistics)
    figure.suptitle(title, parse_math=False)
    return figure


def figure_pixels(figure: "Figure") -> Tensor:
    """Render a figure for a tracker -> uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return torch.from_numpy(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _label_indices(panel: "Axes", order: list[int]) -> None:
    """Label the axis with channel or codebook indices, at most `MAX_TICKS` of them."""
    step = math.ceil(len(order) / MAX_TICKS)
    labels = [str(index) for index in order[::step]]
    panel.set_xticks(range(0, len(order), step), labels, fontsize=7, rotation=90 if step > 1 else 0)
    panel.set_xlim(-0.6, len(order) - 0.4)


def _draw_spectrum(panel: "Axes", statistics: LatentStatistics) -> None:
    """Draw the eigenvalues of the posterior mean's covariance, largest first, and their effective rank."""
    eigenvalues = statistics.eigenvalues.numpy()
    panel.plot(np.arange(1, len(eigenvalues) + 1), eigenvalues, "o-", color="0.3", markersize=4)
    if eigenvalues[0] > 0:
        panel.set_yscale("log")
        # Smaller eigenvalues are rounding errors.
        panel.set_ylim(max(eigenvalues[-1], 1e-9 * eigenvalues[0]) / 2, 2 * eigenvalues[0])
    panel.set_xlim(0, len(eigenvalues) + 0.5)
    rank = statistics.effective_rank
    panel.axvline(rank, color="tab:orange", label=f"effective rank {rank:.1f}")
    panel.set_ylabel("eigenvalue of\nthe means' covariance")
    panel.set_xlabel("principal axis")
    panel.legend(loc="upper right", fontsize="small")


def _draw_frequencies(panel: "Axes", statistics: CodeStatistics) -> None:
    """Draw the sorted code frequencies of each codebook times its size, without unused codes."""
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
