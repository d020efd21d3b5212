"""Speed of `STFTVAE` beside a fused `WaveformVAE` and transformers' `MimiModel`, on mono sound at 24 kHz.

One thread. All forms alternate in one process; the times are medians of processor time. Weights are random, which
changes no time. Mimi has its published size and searches its codebooks, as `encode` does.

    python benchmarks/coding_speed.py --seconds 10 --repeats 5
"""

from collections.abc import Callable, Mapping, Sequence
from time import process_time
from typing import Any

import torch
from command_line import Parser, amount, count, main_or_exit
from measuring import median_seconds, print_table
from torch import Tensor, nn
from transformers import MimiConfig, MimiModel

from hf_audio_vae import STFTVAE, WaveformVAE

RATE = 24000
SMALL: dict[str, Any] = {"encoder_hidden_size": 32, "decoder_channels": 32, "audio_channels": 1, "sampling_rate": RATE}
MULTIPLES: dict[str, Any] = {"channel_multiples": [1, 2, 4, 8]}
VAES: Mapping[str, Callable[[], Any]] = {
    "STFTVAE of stft-vae-demo": lambda: STFTVAE(
        (128, 2), (192, 192), (3, 2), 16, sampling_rate=RATE, window_length=512
    ),
    "STFTVAE": lambda: STFTVAE((256, 2), (256, 256), (4, 2), 32, sampling_rate=RATE),
    "WaveformVAE": lambda: WaveformVAE(
        downsampling_ratios=[2, 4, 8, 8], decoder_input_channels=32, **MULTIPLES, **SMALL
    ),
    "STFTVAE at Mimi's rate": lambda: STFTVAE(
        (320, 2, 3), (256, 256, 256), (4, 2, 2), 64, sampling_rate=RATE, window_length=1280
    ),
    "WaveformVAE at Mimi's rate": lambda: WaveformVAE(
        downsampling_ratios=[4, 5, 8, 12], decoder_input_channels=64, **MULTIPLES, **SMALL
    ),
}


def main(argv: Sequence[str]) -> None:
    """Print a row for each model and form."""
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=amount, default=10.0)
    parser.add_argument("--repeats", type=count, default=5)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    waveform = torch.randn(1, 1, round(arguments.seconds * RATE)) / 10
    forms: dict[str, tuple[nn.Module, float, Callable[[], Tensor], Callable[[], Tensor]]] = {}
    for name, new in VAES.items():
        for form in ("plain", "fused"):
            model = new().eval()
            if form == "fused":
                model.fuse()
            forms[f"{name}, {form}"] = (model, model.frame_rate, *_vae(model, waveform))
    mimi: Any = MimiModel(MimiConfig()).eval()
    forms["MimiModel"] = (mimi, mimi.config.frame_rate, *_mimi(mimi, waveform))
    with torch.inference_mode():
        seconds = median_seconds(
            [run for *_, encode, decode in forms.values() for run in (encode, decode)], arguments.repeats, process_time
        )
    speeds = [arguments.seconds / s for s in seconds]
    rows = [
        [name, f"{rate:.1f}", f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}", encode, decode]
        for (name, (model, rate, *_)), encode, decode in zip(forms.items(), speeds[::2], speeds[1::2], strict=True)
    ]
    print_table(["model", "frames a second", "M parameters", "encode, times real time", "decode"], rows)


def _vae(model: Any, waveform: Tensor) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    latents = torch.randn(1, model.latent_channels, -(-waveform.shape[-1] // model.hop_length))
    return lambda: model.encode(waveform).latent_dist.mean, lambda: model.decode(latents).sample


def _mimi(model: Any, waveform: Tensor) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    with torch.inference_mode():
        codes = model.encode(waveform).audio_codes
    return lambda: model.encode(waveform).audio_codes, lambda: model.decode(codes).audio_values


if __name__ == "__main__":
    main_or_exit(main)
