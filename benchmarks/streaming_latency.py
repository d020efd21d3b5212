"""Block-by-block streaming of a causal VAE on one CPU thread, compared with windows without state.

24 kHz mono, 64 latent channels, a hop of 320 samples (13.3 ms), 32 to 256 channels, random weights: a `WaveformVAE` at
the rates of 24 kHz EnCodec. Blocks of one, two and four frames are encoded and decoded with the layers' state and, in
alternation, by recomputing the whole receptive field of each block. Both have to equal the pass over the whole signal
within 1e-5 of its largest value.

`--clock process` measures CPU time, independent of other load; `--clock wall` measures elapsed time.

    python benchmarks/streaming_latency.py --seconds 8
"""

import time
from collections.abc import Callable, Sequence

import torch
from command_line import Parser, amount, count, main_or_exit
from measuring import print_table, relative_difference
from torch import Tensor

from hf_audio_vae import WaveformVAE

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "process": time.process_time}
BLOCK_FRAMES = (1, 2, 4)
WARM_UP_BLOCKS = 5
TOLERANCE = 1e-5


def causal_vae(width: int) -> WaveformVAE:
    """Return a model with random weights."""
    torch.manual_seed(0)
    model = WaveformVAE(
        encoder_hidden_size=width,
        downsampling_ratios=(2, 4, 5, 8),
        channel_multiples=(1, 2, 4, 8),
        decoder_channels=width,
        decoder_input_channels=64,
        audio_channels=1,
        sampling_rate=24000,
        causal=True,
    )
    return model.eval()


def with_state(model: WaveformVAE, waveform: Tensor, frames: int) -> Callable[[int], Tensor]:
    """Return a function that streams the block at an index; blocks have to come in order."""
    streaming, size = model.streaming(), frames * model.hop_length

    def stream_block(index: int) -> Tensor:
        latents = streaming.encoder.push(waveform[..., index * size : (index + 1) * size]).mode()
        return streaming.decoder.push(latents)

    return stream_block


def with_windows(model: WaveformVAE, waveform: Tensor, frames: int) -> Callable[[int], Tensor]:
    """Return the same function without state: it recomputes the receptive field of each block."""
    hop = model.hop_length
    latents = waveform.new_zeros(1, model.latent_channels, waveform.shape[-1] // hop)

    def stream_block(index: int) -> Tensor:
        start, stop = index * frames, (index + 1) * frames
        first = max(model.encodings()[0].input_span(start, stop)[0] // hop, 0)
        posterior = model.encode(waveform[..., first * hop : stop * hop]).latent_dist
        latents[..., start:stop] = posterior.mode()[..., start - first :]
        first = max(model.decodings()[0].input_span(start * hop, stop * hop)[0], 0)
        return model.decode(latents[..., first:stop]).sample[..., (start - first) * hop :]

    return stream_block


def measure(model: WaveformVAE, waveform: Tensor, frames: int, clock: Callable[[], float]) -> list[list[str | float]]:
    """Stream a signal in both ways, alternating after each block; return a row for each way."""
    whole = model.decode(model.encode(waveform).latent_dist.mode()).sample
    ways = {"state": with_state(model, waveform, frames), "windows": with_windows(model, waveform, frames)}
    outputs: dict[str, list[Tensor]] = {name: [] for name in ways}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(waveform.shape[-1] // (frames * model.hop_length)):
        for name, stream_block in ways.items():
            started = clock()
            outputs[name].append(stream_block(index))
            times[name].append(clock() - started)
    block = frames * model.hop_length / model.sampling_rate
    rows: list[list[str | float]] = []
    for name, seconds in times.items():
        difference = relative_difference(torch.cat(outputs[name], dim=-1), whole)
        if difference > TOLERANCE:
            raise SystemExit(f"{name}: differs from the whole signal by {difference:.1e} of its largest value.")
        timed = torch.tensor(seconds[WARM_UP_BLOCKS:], dtype=torch.float64)
        spread = [1e3 * timed.quantile(share).item() for share in (0.5, 0.99)]
        rows.append([f"{frames}, {name}", 1e3 * block, *spread, block / timed.mean().item(), difference])
    return rows


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=amount, default=8, help="length of the audio")
    parser.add_argument("--width", type=count, default=32, help="channels at the sampling rate")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = causal_vae(arguments.width)
    group = max(BLOCK_FRAMES) * model.hop_length
    time = round(arguments.seconds * model.sampling_rate) // group * group
    waveform = 0.3 * torch.randn(1, 1, time, generator=torch.Generator().manual_seed(0))
    latency, parameters = model.algorithmic_latency, sum(p.numel() for p in model.parameters())
    milliseconds = f"{1e3 * latency.seconds:.1f} ms"
    print(f"{parameters / 1e6:.1f} M parameters, algorithmic latency {latency.total} samples = {milliseconds}")
    rows = []
    with torch.inference_mode():
        for frames in BLOCK_FRAMES:
            rows += measure(model, waveform, frames, CLOCKS[arguments.clock])
    print_table(["frames per block", "block ms", "median ms", "99 % ms", "times real time", "error"], rows)


if __name__ == "__main__":
    main_or_exit(main)
