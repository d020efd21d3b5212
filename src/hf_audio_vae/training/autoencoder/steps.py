"""Computation of one training step, as plain functions. The loop schedules them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.data.crops import CropBatch
from hf_audio_vae.latents.transformations import Chain
from hf_audio_vae.losses.adversarial import AdversarialLoss, accuracy, feature_matching
from hf_audio_vae.training.autoencoder.augmentation import LatentAugmentation

ADVERSARIAL_TERMS = ("adversarial", "feature_matching")


@dataclass(frozen=True)
class Reconstruction:
    """Reconstruction of a batch and the terms of its loss.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Output of the model; of a hierarchy, the
            items of all its reconstructions in sequence; no items for a model that does not train on waveforms.
        target (`torch.Tensor`, same shape): Input of each output item, transformed like its latents.
        distances (`dict[str, torch.Tensor]`): Reconstruction losses and the model's own reconstruction terms,
            unweighted scalars.
        regularisers (`dict[str, torch.Tensor]`): The model's other terms, unweighted: scalars, or for `"kl"` one value
            for each latent channel, (latent_channels,), in nats per frame.
    """

    waveform: Tensor
    target: Tensor
    distances: dict[str, Tensor]
    regularisers: dict[str, Tensor]


def reconstruction_step(
    model: nn.Module,
    batch: CropBatch,
    losses: Mapping[str, nn.Module],
    augmentation: LatentAugmentation | None = None,
) -> Reconstruction:
    """Encode, sample or quantize, and decode a batch; compute every term of the loss.

    All random values of a crop, the posterior's noise and the number of codebooks, come from its own seed. They do not
    depend on the batch, the device or the number of processes.

    Args:
        model (`torch.nn.Module`): Autoencoder, possibly wrapped; its output has `reconstructions` and
            `regularisers`. Its `reconstruction_terms` are distances, too. `losses` are not computed unless it
            `trains_on_waveforms`.
        batch (`CropBatch`): Crops on the model's device.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses, (estimate, target) -> scalar.
        augmentation (`LatentAugmentation`, *optional*): Transforms latents and targets.

    Returns:
        `Reconstruction`: The waveform and all terms.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
    transformation = Chain([]) if augmentation is None else augmentation(batch.seeds)
    changed = {} if augmentation is None else {"transformation": transformation}  # codecs have no such argument
    output = model(batch.waveform, generator=generators, **changed)
    regularisers = dict(output.regularisers)
    unwrapped = extract_model_from_parallel(model)
    own = {name: regularisers.pop(name) for name in unwrapped.reconstruction_terms}
    if not unwrapped.trains_on_waveforms:
        nothing = batch.waveform[:0]
        return Reconstruction(nothing, nothing, own, regularisers)
    predictions = torch.cat(output.reconstructions)
    target = transformation.waveform(batch.waveform).repeat(len(output.reconstructions), 1, 1)
    estimate, original = Spectra(predictions), Spectra(target)
    distances = {name: loss(estimate, original) for name, loss in losses.items()}
    return Reconstruction(predictions, target, own | distances, regularisers)


@dataclass(frozen=True)
class AdversarialTerms:
    """Discriminator terms of a batch of real and reconstructed audio.

    Args:
        generator (`dict[str, torch.Tensor]`): `"adversarial"` and `"feature_matching"`, unweighted scalars that depend
            on the reconstruction and not on the discriminator's parameters.
        discriminator (`torch.Tensor`, *optional*): The discriminator's loss, which depends on its parameters only.
        accuracy (`torch.Tensor`, *optional*): Share of correct scores.
    """

    generator: dict[str, Tensor]
    discriminator: Tensor | None = None
    accuracy: Tensor | None = None

    @property
    def logged(self) -> dict[str, Tensor]:
        """Scalars of the discriminator for the log, by name."""
        values = {"discriminator": self.discriminator, "discriminator_accuracy": self.accuracy}
        return {name: value for name, value in values.items() if value is not None}


def adversarial_step(
    discriminator: nn.Module, real: Tensor, fake: Tensor, loss: AdversarialLoss, *, train_discriminator: bool = True
) -> AdversarialTerms:
    """Compute generator and discriminator losses of a batch with the same discriminator weights.

    Under `DistributedDataParallel` the discriminator's pass has to be one call on real and fake together. The
    generator's pass skips the wrapper and freezes the parameters, so that they get no gradient from it.

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
    discriminator_loss = discriminator_accuracy = None
    if train_discriminator:
        output = discriminator(torch.cat((real, fake.detach())))
        real_logits, fake_logits = zip(*(logits.chunk(2) for logits in output.logits), strict=True)
        discriminator_loss = loss.discriminator(real_logits, fake_logits)
        discriminator_accuracy = accuracy(real_logits, fake_logits, loss.boundary).detach()
        real_maps = [[feature_map.detach().chunk(2)[0] for feature_map in maps] for maps in output.feature_maps]
    else:
        with torch.no_grad():
            real_maps = unwrapped(real).feature_maps
    with frozen(unwrapped):
        output = unwrapped(fake)
    generator = {
        "adversarial": loss.generator(output.logits),
        "feature_matching": feature_matching(real_maps, output.feature_maps),
    }
    return AdversarialTerms(generator, discriminator_loss, discriminator_accuracy)


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Freeze the parameters of a module; gradients still pass through it."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
