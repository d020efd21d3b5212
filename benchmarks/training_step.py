"""Time and memory of training `WaveformVAE` compared with diffusers' `AutoencoderOobleck`, and the parts of a step.

Both models have the same weights. A run that is not timed compares their gradients. "Kept" is the memory saved for the
backward pass, without parameters. "Peak" is the peak of tensor memory in a step, recorded by `torch.profiler`. Times
are medians of alternating steps. The second table has losses and discriminators.

    python benchmarks/training_step.py --seconds 1 --batch 1 --repeats 5
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from command_line import Parser, amount, count, main_or_exit
from diffusers import AutoencoderOobleck
from measuring import median_seconds, print_table, saved_mib, working_mib
from torch import Tensor, nn

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, MultiResolutionSTFTLoss, MultiScaleMelLoss
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from hf_audio_vae.training.autoencoder.steps import adversarial_step

Model: TypeAlias = "WaveformVAE | AutoencoderOobleck"
RATE = 24000
RATIOS = [2, 4, 4, 8]
CONFIG: dict[
    str, int | list[int]
] = {  # of training/recipes/oobleck-small.yaml without its stride of 5: Oobleck loses samples at odd strides
    "encoder_hidden_size": 64,
    "downsampling_ratios": RATIOS,
    "channel_multiples": [1, 2, 4, 8],
    "decoder_channels": 64,
    "decoder_input_channels": 32,
    "audio_channels": 1,
    "sampling_rate": RATE,
}


def noise(batch: int, time: int, seed: int) -> Tensor:
    """Return a waveform, (batch, 1, time)."""
    return 0.3 * torch.randn(batch, 1, time, generator=torch.Generator().manual_seed(seed))


def reconstruct(model: Model, waveform: Tensor) -> Tensor:
    """Encode, and decode the posterior's mean."""
    return model.decode(model.encode(waveform).latent_dist.mean).sample


def step(model: Model, waveform: Tensor) -> Tensor:
    """Compute gradients of a squared error; return the error."""
    model.zero_grad()
    loss = (reconstruct(model, waveform) - waveform).square().mean()
    loss.backward()
    return loss.detach()


def compare_models(waveform: Tensor, repeats: int) -> None:
    """Print time and memory of a step of both models."""
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(**CONFIG).train()
    ours = WaveformVAE(**CONFIG).train()
    ours.load_state_dict(theirs.state_dict())
    models: tuple[Model, Model] = (ours, theirs)
    for model in models:
        step(model, waveform)
    our_parameters = dict(ours.named_parameters())
    errors = [
        ((our_parameters[name].grad - p.grad).norm() / p.grad.norm()).item() for name, p in theirs.named_parameters()
    ]
    if not max(errors) < 1e-3:  # gradients of a weight's norm are small differences of large sums
        raise SystemExit(f"a parameter's gradients differ by {max(errors):.1e} of their norm.")
    kept = [saved_mib(functools.partial(reconstruct, model, waveform), model.parameters()) for model in models]
    peaks = [working_mib(functools.partial(step, model, waveform)) for model in models]
    seconds = median_seconds([functools.partial(step, model, waveform) for model in models], repeats)
    rows = [[label, a, b, a / b] for label, (a, b) in (("s", seconds), ("kept MiB", kept), ("peak MiB", peaks))]
    print_table(["a step", "WaveformVAE", "Oobleck", "ratio"], rows)
    print(f"\nLargest difference of a parameter's gradients: {max(errors):.1e} of their norm.")


def spectral(loss: nn.Module, estimate: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of a reconstruction loss."""
    return torch.autograd.grad(loss(Spectra(estimate), Spectra(target)), estimate)[0]


def adversarial(discriminator: nn.Module, estimate: Tensor, target: Tensor) -> Tensor:
    """Run the backward passes of discriminator and generator; return the generator's gradient."""
    discriminator.zero_grad()
    terms = adversarial_step(discriminator, target, estimate, HingeLoss())
    if terms.discriminator is not None:
        terms.discriminator.backward()
    return torch.autograd.grad(torch.stack(list(terms.generator.values())).sum(), estimate)[0]


def time_parts(waveform: Tensor, repeats: int) -> None:
    """Print the time of each loss and discriminator, forward and backward."""
    estimate = noise(len(waveform), waveform.shape[-1], seed=1).requires_grad_()
    losses: Mapping[str, nn.Module] = {
        "multi_resolution_stft": MultiResolutionSTFTLoss(sampling_rate=RATE, a_weighted=True),
        "multi_scale_mel": MultiScaleMelLoss(sampling_rate=RATE),
    }
    discriminators: Mapping[str, nn.Module] = {
        "multi_scale_stft": DiscriminatorEnsemble(multi_scale_stft={}),
        "multi_resolution": DiscriminatorEnsemble(multi_resolution={}),
        "multi_period": DiscriminatorEnsemble(multi_period={}),
    }
    runs: list[Callable[[], Tensor]] = [
        *(functools.partial(spectral, loss, estimate, waveform) for loss in losses.values()),
        *(functools.partial(adversarial, network, estimate, waveform) for network in discriminators.values()),
    ]
    for run in runs:
        run()
    names, seconds = (*losses, *discriminators), median_seconds(runs, repeats)
    print_table(["loss or discriminator", "s"], [[name, s] for name, s in zip(names, seconds, strict=True)])


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the tables."""
    parser = Parser(__doc__)
    parser.add_argument("--seconds", type=amount, default=1, help="length of a crop")
    parser.add_argument("--batch", type=count, default=1)
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    allow_compiled_kernels()
    hop = math.prod(RATIOS)
    waveform = noise(arguments.batch, round(arguments.seconds * RATE / hop) * hop, seed=0)
    print(f"batch of {arguments.batch} x {waveform.shape[-1]} samples, {arguments.threads} threads")
    compare_models(waveform, arguments.repeats)
    time_parts(waveform, arguments.repeats)


if __name__ == "__main__":
    main_or_exit(main)
