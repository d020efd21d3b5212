"""Metrics as Markdown tables. All numbers come from the arguments."""

from collections.abc import Mapping, Sequence

from hf_audio_vae.evaluation.codes import CodeStatistics
from hf_audio_vae.evaluation.latents import LatentStatistics
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS

METRICS = {name: metric.label for name, metric in RECONSTRUCTION_METRICS.items()} | {
    "spectrogram": "spectrogram (L1 of natural log mel magnitudes, ↓)",
    "nll": "negative log-likelihood (nats a sample, ↓)",
    "kl": "KL (nats a frame)",
    "commitment": "commitment (latents to their codes, mean square)",
    "codebook": "codebook (codes to their latents, mean square)",
    "real_time_factor": "times real time (↑)",
}
LATENT_METRICS = {  # keys of `LatentStatistics.summary`
    "bits_per_second": "KL (bits per second)",
    "active_units": "active channels",
    "active_share": "active share of channels",
    "effective_rank": "effective rank",
    "mismatch_nats": "Gaussian mismatch with the prior (nats a frame, ↓)",
    "mean_std": "std of a channel, mean (prior: 1)",
}
CODE_METRICS = {  # keys of `CodeStatistics.summary`
    "nominal_bits_per_second": "bitrate, all codebooks (bits a second)",
    "entropy_bits_per_second": "entropy of the codes (bits a second)",
    "bitrate_efficiency": "bitrate efficiency (↑)",
    "mean_perplexity": "mean perplexity of a codebook (↑)",
    "lowest_usage": "lowest usage of a codebook (↑)",
    "dead_codes": "codes never used (↓)",
    "frames_per_code": "minimum frames per code",
}
DIFFUSION_METRICS = {  # keys of a latent diffusion validation
    "denoising_loss": "denoising loss (↓)",
    "linear_guess_loss": "loss of the linear predictor",
    "loss_ratio": "loss / linear predictor (↓)",
    "generated_mean_distance": "generated latents: largest error of a channel mean (std, ↓)",
    "generated_std_factor": "generated latents: largest ratio of channel stds (1 is exact)",
}
CHANNEL_STATISTICS = {
    "kl_nats": "KL (nats a frame)",
    "bits_per_second": "bits a second",
    "active": "active",
    "mean": "mean",
    "std": "std",
    "excess_kurtosis": "excess kurtosis",
}
CODEBOOK_STATISTICS = {
    "frames": "frames",
    "perplexity": "perplexity",
    "usage": "usage",
    "dead_codes": "never used",
    "entropy_bits": "entropy (bits)",
    "efficiency": "efficiency",
    "nominal_bits_per_second": "bits a second",
    "entropy_bits_per_second": "entropy (bits per second)",
}


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a Markdown table with aligned columns. Floats have three decimals; the first column is text."""

    def cell_of(value: str | float) -> str:
        if isinstance(value, float):
            return f"{value:.3f}"
        text = str(value).replace("\r", "\\r").replace("\n", "\\n")  # would end the row
        return text.replace("|", "\\|")

    cells = [list(map(cell_of, row)) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def metrics_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row per metric and a column per entry, such as `{"before": ..., "after": ...}`.

    A dash marks a metric that a column does not have.
    """
    labels = METRICS | LATENT_METRICS | CODE_METRICS | DIFFUSION_METRICS
    names = [name for name in labels if any(name in values for values in columns.values())]
    rows: list[list[str | float]] = [
        [labels[name], *(values.get(name, "–") for values in columns.values())] for name in names
    ]
    return table(["metric", *columns], rows)


def channels_table(statistics: LatentStatistics) -> str:
    """Return a table with a row per latent channel, in `LatentStatistics.order`."""
    figures = statistics.by_channel()
    names = [name for name in CHANNEL_STATISTICS if name in figures]
    columns: list[list[float]] = [figures[name].tolist() for name in names]
    order = statistics.order.tolist()
    rows: list[list[str | float]] = [[str(channel), *(column[channel] for column in columns)] for channel in order]
    return table(["channel", *(CHANNEL_STATISTICS[name] for name in names)], rows)


def codebooks_table(statistics: CodeStatistics) -> str:
    """Return a table with a row per codebook, in index order."""
    figures = statistics.by_codebook()
    columns: list[list[float]] = [figures[name].tolist() for name in CODEBOOK_STATISTICS]
    rows: list[list[str | float]] = [
        [f"{codebook} (of {size} codes)", *(column[codebook] for column in columns)]
        for codebook, size in enumerate(statistics.codebook_sizes)
    ]
    return table(["codebook", *CODEBOOK_STATISTICS.values()], rows)
