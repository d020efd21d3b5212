"""A VAE beside Opus on the same clips: distance against bits per second.

The bits of the VAE are its KL, which a sample of the posterior costs; the mean is as decoded by the commands. Those of
Opus are counted from the bytes of its pages.

    python benchmarks/beside_opus.py --dataset_name outputs/excerpts --dataset_split test --max_seconds 8
"""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import torch
from command_line import Parser, amount, count, main_or_exit

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_model_arguments
from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.sound import load_coder
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.lossy import opus
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.reports import METRICS, table

COLUMNS = ("mel_distance", "multi_resolution_stft", "si_sdr_db")


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print a row for the model and one for each bitrate of Opus."""
    parser = Parser(__doc__)
    add_model_arguments(parser)
    add_dataset_arguments(parser)
    parser.add_argument("--opus_kbps", type=amount, nargs="*", default=[6, 8, 10, 12, 16, 24], help="kbit/s a channel")
    parser.add_argument("--every", type=count, default=1, help="measure every n-th item")
    arguments = parser.parse_args(argv)
    model = load_coder(arguments.model, arguments)
    rate, health, skipped = model.sampling_rate, health_of(model), dict[str, str]()
    rows, bits = defaultdict[str, list[dict[str, float]]](list), defaultdict[str, list[float]](list)
    for _, clip in itertools.islice(read_clips(model, arguments, skipped), None, None, arguments.every):
        for name, generator in (("posterior mean", None), ("posterior sample", torch.Generator().manual_seed(0))):
            output = model(clip[None], generator=generator)
            rows[name].append(measure(output.sample, clip[None], {}, rate))
        health.add(output)
        for kbps in arguments.opus_kbps:
            coded, name = opus(clip, rate, round(1000 * kbps * len(clip))), f"Opus at {kbps:g} kbit/s"
            rows[name].append(measure(coded.waveform[None], clip[None], {}, rate))
            bits[name].append(coded.bits_per_second)
    items = len(rows["posterior mean"])
    check_items(arguments, items, skipped)
    bits["posterior mean"] = bits["posterior sample"] = [health.summary()["bits_per_second"]]
    means = {name: mean_metrics(values) for name, values in rows.items()}
    header = ["coder", "kbit/s", *(METRICS[name] for name in COLUMNS)]
    print(table(header, [[n, sum(bits[n]) / len(bits[n]) / 1000, *(m[c] for c in COLUMNS)] for n, m in means.items()]))
    print(f"{arguments.model} on {items} items at {rate} Hz")


if __name__ == "__main__":
    main_or_exit(main)
