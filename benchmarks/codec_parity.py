"""Codes and audio of converted codecs compared with transformers, at published sizes with random weights.

Codes are compared in float64 and audio in float32 relative to its peak, on one second of noise in whole frames. DAC
drops samples at odd strides; there the last four frames are left out.

    python benchmarks/codec_parity.py
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from command_line import Parser, main_or_exit
from torch import Tensor, nn
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel

from hf_audio_vae import WaveformVQVAE
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.models.waveform_vqvae.convert_dac import from_dac
from hf_audio_vae.models.waveform_vqvae.convert_encodec import from_encodec

DACS: dict[str, dict[str, Any]] = {
    "DAC 16 kHz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 12, "sampling_rate": 16000},
    "DAC 24 kHz": {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": 32, "sampling_rate": 24000},
    "DAC 44.1 kHz": {"downsampling_ratios": [2, 4, 8, 8], "n_codebooks": 9, "sampling_rate": 44100},
}
ENCODECS: dict[str, dict[str, Any]] = {
    "EnCodec 24 kHz": {},
    "EnCodec 32 kHz (MusicGen)": {
        "num_filters": 64,
        "upsampling_ratios": [8, 5, 4, 4],
        "sampling_rate": 32000,
        "target_bandwidths": [2.2],
        "codebook_size": 2048,
        "use_causal_conv": False,
        "use_conv_shortcut": False,
    },
    "EnCodec 48 kHz, one segment": {
        "audio_channels": 2,
        "sampling_rate": 48000,
        "normalize": True,
        "norm_type": "time_group_norm",
        "use_causal_conv": False,
        "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
    },
}
generator = torch.Generator().manual_seed(0)


@dataclass(frozen=True)
class Pair:
    """A codec of transformers and our codec with the same weights.

    Args:
        theirs (`torch.nn.Module`): Original.
        ours (`WaveformVQVAE`): Converted model.
        encode (`Callable`): Waveform -> codes, by the original.
        decode (`Callable`): Codes and scales -> waveform, by the original.
    """

    theirs: nn.Module
    ours: WaveformVQVAE
    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor, Tensor | None], Tensor]


def randomized(theirs: Any) -> Any:
    """Perturb every weight, so that initial zeros and ones do not hide errors."""
    for parameter in theirs.parameters():
        scale = 0.02 * (parameter.data.abs().mean() + 1e-3)
        parameter.data.add_(scale * torch.randn(parameter.shape, generator=generator))
    return theirs.eval()


def dac(options: dict[str, Any]) -> Pair:
    """Create a DAC and its conversion."""
    theirs = randomized(DacModel(DacConfig(**options)))
    for quantizer in theirs.quantizer.quantizers:
        quantizer.codebook.weight.data.normal_(generator=generator)
    return Pair(
        theirs,
        from_dac(theirs),
        encode=lambda x: theirs.encode(x).audio_codes,
        decode=lambda codes, scales: theirs.decode(audio_codes=codes).audio_values[:, None],
    )


def encodec(options: dict[str, Any]) -> Pair:
    """Create an EnCodec and its conversion."""
    theirs = randomized(EncodecModel(EncodecConfig(**options)))
    for layer in theirs.quantizer.layers:
        layer.codebook.embed.normal_(generator=generator).mul_(0.1)
    return Pair(
        theirs,
        from_encodec(theirs),
        encode=lambda x: theirs.encode(x, bandwidth=theirs.config.target_bandwidths[-1]).audio_codes[0],
        decode=lambda codes, scales: theirs.decode(codes[None], [scales]).audio_values,
    )


def compare(pair: Pair) -> list[str | float]:
    """Return the number of distinct codes, the share of equal codes, and the largest error of the audio."""
    ours: Any = pair.ours
    time = ours.sampling_rate // ours.hop_length * ours.hop_length
    x = 0.3 * torch.randn(1, ours.config.audio_channels, time, generator=generator)
    codes, scales = pair.encode(x), ours.encode(x).audio_scales
    expected, audio = pair.decode(codes, scales), ours.decode(codes, audio_scales=scales).audio_values
    kept = audio.shape[-1] if expected.shape == audio.shape else audio.shape[-1] - 4 * ours.hop_length
    error = (audio[..., :kept] - expected[..., :kept]).abs().max() / expected.abs().max()
    pair.theirs.double()
    ours.double()
    codes = pair.encode(x.double())
    equal = (ours.encode(x.double()).audio_codes == codes).double().mean().item()
    return [str(codes.unique().numel()), equal, f"{error.item():.1e}"]


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print the table."""
    Parser(__doc__).parse_args(argv)
    codecs = {name: (dac, options) for name, options in DACS.items()}
    codecs |= {name: (encodec, options) for name, options in ENCODECS.items()}
    rows = [[name, *compare(make(options))] for name, (make, options) in codecs.items()]
    print(table(["codec", "different codes", "equal codes", "error of the sound"], rows))


if __name__ == "__main__":
    main_or_exit(main)
