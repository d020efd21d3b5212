"""What one training step computes, as plain functions; when they run is the loop's affair."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.data.crops import CropBatch
from hf_audio_vae.losses.adversarial import AdversarialLoss, accuracy, feature_matching

ADVERSARIAL_TERMS = ("adversarial", "feature_matching")


@dataclass(frozen=True)
class Reconstruction:
    """A batch after the autoencoder.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): What came out; of a hierarchy, the items
            of each of its reconstructions after each other.
        target (`torch.Tensor`, same shape): What went in for it.
        distances (`dict[str, torch.Tensor]`): Scalars: each reconstruction loss, unweighted.
        regularisers (`dict[str, torch.Tensor]`): The model's own terms, unweighted: scalars, or for `"kl"` one value
            for each latent channel, (latent_channels,), in nats a frame.
    """

    waveform: Tensor
    target: Tensor
    distances: dict[str, Tensor]
    regularisers: dict[str, Tensor]


def reconstruction_step(model: nn.Module, batch: CropBatch, losses: Mapping[str, nn.Module]) -> Reconstruction:
    """Encode, sample or quantize, and decode a batch; compute every term of the loss.

    What is random of a crop, a posterior's noise or how many codebooks it is decoded from, comes from its own seed:
    neither the batch it sits in, nor the device, nor the number of processes changes it.

    Args:
        model (`torch.nn.Module`): Autoencoder, possibly wrapped; its output has `reconstructions` and
            `regularisers`.
        batch (`CropBatch`): Crops on the model's device.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses, (estimate, target) -> scalar.

    Returns:
        `Reconstruction`: The waveform and all terms.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    output = model(batch.waveform, generator=generators)
    predictions = torch.cat(output.reconstructions)
    target = batch.waveform.repeat(len(output.reconstructions), 1, 1)
    estimate, original = Spectra(predictions), Spectra(target)
    distances = {name: loss(estimate, original) for name, loss in losses.items()}
    return Reconstruction(predictions, target, distances, dict(output.regularisers))


@dataclass(frozen=True)
class AdversarialTerms:
    """A batch of real and reconstructed sound after the discriminator.

    Args:
        generator (`dict[str, torch.Tensor]`): `"adversarial"` and `"feature_matching"`, unweighted scalars that depend
            on the reconstruction and not on the discriminator's parameters.
        discriminator (`torch.Tensor`, *optional*): The discriminator's loss, which depends on its parameters only.
        accuracy (`torch.Tensor`, *optional*): Share of scores that are right.
    """

    generator: dict[str, Tensor]
    discriminator: Tensor | None = None
    accuracy: Tensor | None = None

    @property
    def logged(self) -> dict[str, Tensor]:
        """What there is to log of the discriminator, by name."""
        values = {"discriminator": self.discriminator, "discriminator_accuracy": self.accuracy}
        return {name: value for name, value in values.items() if value is not None}


def adversarial_step(
    discriminator: nn.Module, real: Tensor, fake: Tensor, loss: AdversarialLoss, *, train_discriminator: bool = True
) -> AdversarialTerms:
    """Judge a batch for both players, by the same weights of the discriminator.

    Under `DistributedDataParallel` the discriminator's own pass has to be one call, on real and fake together; the
    generator's goes past the wrapper, with the parameters frozen, so that it leaves no gradient there.

    Args:
        discriminator (`torch.nn.Module`): Possibly wrapped; returns `logits` and `feature_maps`.
        real (`torch.Tensor` of shape `(batch, audio_channels, time)`): Originals.
        fake (`torch.Tensor`, same shape): Their reconstructions, with their graph.
        loss (`AdversarialLoss`): Hinge or least squares.
        train_discriminator (`bool`): Compute the discriminator's loss, too.

    Returns:
        `AdversarialTerms`: The generator's terms and, if it is trained, the discriminator's loss and accuracy.
    """
    unwrapped = extract_model_from_parallel(discriminator)
    own_loss = own_accuracy = None
    if train_discriminator:
        judged = discriminator(torch.cat((real, fake.detach())))
        of_real, of_fake = zip(*(logits.chunk(2) for logits in judged.logits), strict=True)
        own_loss = loss.discriminator(of_real, of_fake)
        own_accuracy = accuracy(of_real, of_fake, loss.boundary).detach()
        real_maps = [[feature_map.detach().chunk(2)[0] for feature_map in maps] for maps in judged.feature_maps]
    else:
        with torch.no_grad():
            real_maps = unwrapped(real).feature_maps
    with frozen(unwrapped):
        judged = unwrapped(fake)
    generator = {
        "adversarial": loss.generator(judged.logits),
        "feature_matching": feature_matching(real_maps, judged.feature_maps),
    }
    return AdversarialTerms(generator, own_loss, own_accuracy)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Let gradients pass through a module, but not into its parameters."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
