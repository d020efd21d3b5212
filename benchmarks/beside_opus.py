"""A VAE or a codec beside Opus and MP3 on the same clips: distance against bits per second.

The bits of a VAE are its KL, which a sample of the posterior costs; the mean is as decoded by the commands. Its
latents are also quantized and entropy-coded, with steps in standard deviations of the posterior: these bits are bytes.
The bits of a codec are the size of its first codebooks. Those of Opus and MP3 are counted from the bytes of files
without headers. All rates are all bits over all seconds.

    python benchmarks/beside_opus.py --dataset_name outputs/excerpts --dataset_split test --max_seconds 8
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from command_line import Parser, amount, count, main_or_exit
from torch import Tensor

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_model_arguments
from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.sound import load_coder
from hf_audio_vae.evaluation.embeddings import embed, embedding_of
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.lossy import LOSSY
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.reports import METRICS, table
from hf_audio_vae.evaluation.set_distances import kernel_distance
from hf_audio_vae.latents import code_latents, decode_latents
from hf_audio_vae.models import AutoencoderModel

COLUMNS = ("mel_distance", "multi_resolution_stft", "si_sdr_db")
EMBEDDING = "log_mel"


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print a row for each rate of the model and one for each bitrate of Opus and MP3."""
    parser = Parser(__doc__)
    add_model_arguments(parser)
    add_dataset_arguments(parser)
    parser.add_argument("--opus_kbps", type=amount, nargs="*", default=[6, 8, 10, 12, 16, 24], help="kbit/s a channel")
    parser.add_argument("--mp3_kbps", type=amount, nargs="*", default=[], help="kbit/s a channel")
    parser.add_argument("--codebooks", type=count, nargs="*", default=[], help="numbers of codebooks; default all")
    parser.add_argument("--steps", type=amount, nargs="*", default=[1, 3.46], help="quantization steps of latents")
    parser.add_argument("--every", type=count, default=1, help="measure every n-th item")
    arguments = parser.parse_args(argv)
    model = load_coder(arguments.model, arguments)
    rate, health, skipped = model.sampling_rate, health_of(model), dict[str, str]()
    rows, bits = defaultdict[str, list[dict[str, float]]](list), defaultdict[str, list[float]](list)
    embedding, embedded = embedding_of(EMBEDDING, sampling_rate=rate), defaultdict[str, list[Tensor]](list)
    seconds: list[float] = []
    for _, clip in itertools.islice(read_clips(model, arguments, skipped), None, None, arguments.every):
        seconds.append(clip.shape[-1] / rate)
        embedded[""].append(embed(embedding, clip, rate))
        encoded = model.encode(clip[None])
        health.add(encoded)
        for name, sound, bitrate in (*coded_by_model(model, encoded, clip, arguments), *lossy(clip, rate, arguments)):
            rows[name].append(measure(sound[None, :, : clip.shape[-1]], clip[None], {}, rate))
            bits[name].append(bitrate * seconds[-1])
            embedded[name].append(embed(embedding, sound[:, : clip.shape[-1]], rate))
    check_items(arguments, len(seconds), skipped)
    rates = {name: sum(values) / sum(seconds) / 1000 for name, values in bits.items()}
    if not model.codebook_sizes:
        rates |= dict.fromkeys(("posterior mean", "posterior sample"), health.summary()["bits_per_second"] / 1000)
    originals = torch.cat(embedded.pop(""))
    distances = {name: kernel_distance(torch.cat(e), originals, paired=True) for name, e in embedded.items()}
    header = ["coder", "kbit/s", *(METRICS[name] for name in COLUMNS), f"KAD {EMBEDDING} (↓)"]
    means = {name: mean_metrics(values) for name, values in rows.items()}
    print(table(header, [[n, rates[n], *(m[c] for c in COLUMNS), distances[n]] for n, m in means.items()]))
    print(f"{arguments.model} on {len(seconds)} items, {sum(seconds) / 60:.1f} min, at {rate} Hz")


def coded_by_model(
    model: AutoencoderModel, encoded: Any, clip: Tensor, arguments: Any
) -> Iterator[tuple[str, Tensor, float]]:
    """Yield name, sound (audio_channels, time) and bits per second of each rate of the model."""
    if model.codebook_sizes:
        for number in arguments.codebooks or [len(model.codebook_sizes)]:
            decoded = model.decode(encoded.audio_codes[:, :number]).audio_values[0]
            yield f"{number} codebooks", decoded, model.bits_per_second * number / len(model.codebook_sizes)
        return
    posterior = encoded.latent_dist
    generator = torch.Generator().manual_seed(0)
    yield "posterior mean", model.decode(posterior.mode()).sample[0], 0.0
    yield "posterior sample", model.decode(posterior.sample(generator)).sample[0], 0.0
    for step in arguments.steps:
        coded = code_latents(posterior.mean[0], posterior.std[0], relative_step=step)
        sound = model.decode(decode_latents(coded)[None]).sample[0]
        yield f"coded latents, step {step:g}", sound, 8 * coded.num_bytes * model.sampling_rate / clip.shape[-1]


def lossy(clip: Tensor, rate: int, arguments: Any) -> Iterator[tuple[str, Tensor, float]]:
    """Yield name, sound (audio_channels, time) and bits per second of Opus and MP3."""
    for codec, bitrates in (("opus", arguments.opus_kbps), ("mp3", arguments.mp3_kbps)):
        for kbps in bitrates:
            coded = LOSSY[codec](clip, rate, round(1000 * kbps * len(clip)))
            yield (
                f"{codec.upper() if codec == 'mp3' else 'Opus'} at {kbps:g} kbit/s",
                coded.waveform,
                coded.bits_per_second,
            )


if __name__ == "__main__":
    main_or_exit(main)
