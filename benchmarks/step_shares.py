"""Parts of a training step of a recipe, and the sound that it learns from in a second.

Forward and backward passes of the networks and of each loss are timed alone, on noise, as medians of alternating runs.
Spectra that losses share count for the first one.

    python benchmarks/step_shares.py --config training/recipes/stft-vae-24khz.yaml --threads 2
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from command_line import Parser, count, input_file, main_or_exit
from measuring import median_seconds, print_table
from torch import Tensor

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.models.registry import new_autoencoder
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.ema import EMA


def main(argv: Sequence[str]) -> None:
    """Print a row for each part."""
    parser = Parser(__doc__)
    parser.add_argument("--config", type=input_file, required=True, help="recipe of a VAE")
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--repeats", type=count, default=9)
    parser.add_argument("--bf16", action="store_true", help="autocast the networks to bfloat16")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    allow_compiled_kernels()
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(arguments.config)])
    model: Any = new_autoencoder(config.family, config.model)
    losses = config.losses.build(model.sampling_rate)
    optimizer, average = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True), EMA(model, 0.999)
    samples = round(config.segment_seconds * model.sampling_rate)
    waveform = 0.3 * torch.randn(config.train_batch_size, model.config.audio_channels, samples)
    gradient = torch.randn_like(waveform) / waveform.numel()

    def networks() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            return model(waveform, sample_posterior=True).sample

    def networks_and_back() -> Tensor:
        model.zero_grad()
        prediction = networks()
        prediction.backward(gradient.to(prediction.dtype))
        return prediction

    def with_losses(names: list[str]) -> Callable[[], Tensor]:
        def run() -> Tensor:
            prediction = waveform.flip(0).requires_grad_()
            estimate, target = Spectra(prediction), Spectra(waveform)
            total = torch.stack([losses[name](estimate, target) for name in names]).sum()
            total.backward()
            return total

        return run

    def update() -> Tensor:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update(model)
        return waveform

    networks_and_back()
    names = list(losses)
    growing = [with_losses(names[: count + 1]) for count in range(len(names))]
    forward, both, *cumulated, updates = median_seconds(
        [networks, networks_and_back, *growing, update], arguments.repeats
    )
    parts = {"networks, forward": forward, "networks, backward": both - forward}
    parts |= {name: time - before for name, before, time in zip(names, [0.0, *cumulated], cumulated, strict=False)}
    parts["clipping, AdamW, average"] = updates
    whole = sum(parts.values())
    print_table(["part", "ms", "share"], [[n, 1000 * t, f"{t / whole:.0%}"] for n, t in parts.items()])
    seconds = config.train_batch_size * config.segment_seconds
    print(f"{1000 * whole:.0f} ms a step of {seconds:.1f} s of sound: {seconds / whole:.1f} s of sound a second")


if __name__ == "__main__":
    main_or_exit(main)
