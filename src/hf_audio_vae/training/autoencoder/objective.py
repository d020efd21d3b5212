from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from hf_audio_vae.data.crops import CropBatch
from hf_audio_vae.losses import AdversarialLoss, GradientBalancer, KLControl, Schedule, weighted_sum
from hf_audio_vae.training.autoencoder.augmentation import LatentAugmentation
from hf_audio_vae.training.autoencoder.steps import (
    ADVERSARIAL_TERMS,
    AdversarialTerms,
    adversarial_step,
    reconstruction_step,
)
from hf_audio_vae.training.objective import StepLosses

BALANCED = "gradient_norm/"  # prefix of the balancer's measurements


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Run a model in training without gradients, and without learning of codebooks and statistics."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


@dataclass(frozen=True)
class AdversarialSchedule:
    """The steps in which a discriminator judges and trains.

    Args:
        start_step (`int`): First step with the discriminator.
        warmup_discriminator_steps (`int`): Steps from then on that train only the discriminator, against the frozen
            autoencoder: a new discriminator has no useful gradient for a trained autoencoder.
        update_interval (`int`): Steps between updates of the discriminator after that.
    """

    start_step: int = 0
    warmup_discriminator_steps: int = 0
    update_interval: int = 1

    def has_begun(self, step: int) -> bool:
        """Return whether the discriminator judges in a step."""
        return step >= self.start_step

    def warms_up(self, step: int) -> bool:
        """Return whether only the discriminator trains in a step."""
        return 0 <= step - self.start_step < self.warmup_discriminator_steps

    def updates(self, step: int) -> bool:
        """Return whether the discriminator trains in a step."""
        passed = step - self.start_step - self.warmup_discriminator_steps
        return self.warms_up(step) or (passed >= 0 and passed % self.update_interval == 0)

    def count_updates(self, steps: int) -> int:
        """Return the number of updates in the first steps of a run."""
        return sum(map(self.updates, range(steps)))


@dataclass(frozen=True)
class Adversary:
    """A discriminator with its loss and its schedule.

    Args:
        discriminator (`torch.nn.Module`): Prepared by accelerate.
        loss (`AdversarialLoss`): Hinge or least squares.
        schedule (`AdversarialSchedule`): When it judges and trains.
    """

    discriminator: nn.Module
    loss: AdversarialLoss
    schedule: AdversarialSchedule = AdversarialSchedule()


class AutoencoderObjective:
    """Reconstruction losses, regularisers and, with a discriminator, adversarial losses.

    Args:
        model (`torch.nn.Module`): Autoencoder prepared by accelerate.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses; none if the model does not train on waveforms.
        weights (`Mapping[str, float | Schedule | KLControl]`): Weight of each term by name: reconstruction losses, the
            model's regularisers and, with an adversary, `"adversarial"` and `"feature_matching"`.
        adversary (`Adversary`, *optional*): Discriminator to train against.
        balancer (`GradientBalancer`, *optional*): Turns all weights except the regularisers' into shares of the
            gradient.
        decoder_only_from_step (`int`, *optional*): Step from which the encoder is frozen and the regularisers are
            left out. The decoder then trains on fixed latents.
        augmentation (`LatentAugmentation`, *optional*): Transforms latents and targets.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Mapping[str, nn.Module],
        weights: Mapping[str, float | Schedule | KLControl],
        *,
        adversary: Adversary | None = None,
        balancer: GradientBalancer | None = None,
        decoder_only_from_step: int | None = None,
        augmentation: LatentAugmentation | None = None,
    ) -> None:
        self.model = model
        self.losses = losses
        self.weights = weights
        self.adversary = adversary
        self.balancer = balancer
        self.decoder_only_from_step = decoder_only_from_step
        self.augmentation = augmentation

    def __call__(self, batch: CropBatch, step: int) -> StepLosses:
        """Compute the losses of the autoencoder and, in its update steps, of the discriminator."""
        decoder_only = self._decoder_only(step)
        if decoder_only:
            extract_model_from_parallel(self.model).freeze_encoder()
        warms_up = self.adversary is not None and self.adversary.schedule.warms_up(step)
        with unchanged(self.model) if warms_up else nullcontext():
            reconstruction = reconstruction_step(self.model, batch, self.losses, self.augmentation)
        adversarial = self._adversarial_terms(reconstruction.target, reconstruction.waveform, step)
        of_waveform = reconstruction.distances | adversarial.generator
        regularisers = {} if decoder_only else reconstruction.regularisers
        weights = self._weights_at(step)
        plain = weighted_sum(of_waveform | regularisers, weights)

        losses = {} if warms_up else {"model": plain}
        measured: dict[str, Tensor] = {}
        if self.balancer and not warms_up:
            shares = {name: float(weights.pop(name)) for name in of_waveform}
            balanced, norms = self.balancer(of_waveform, shares, reconstruction.waveform)
            losses["model"] = balanced + weighted_sum(regularisers, weights)
            measured |= {BALANCED + name: norm for name, norm in norms.items()}
        if adversarial.discriminator is not None:
            losses["discriminator"] = adversarial.discriminator
        logged = (
            of_waveform | {name: term.sum() for name, term in reconstruction.regularisers.items()} | adversarial.logged
        )
        if "kl" in regularisers and not warms_up:
            measured["kl"] = regularisers["kl"].detach()
            # On the CPU, where the loop averages it. A copy to a GPU would wait for the GPU.
            logged["kl_weight"] = torch.as_tensor(weights["kl"], dtype=torch.float32).mean()
        return StepLosses(losses, logged | {"loss": plain}, measured)

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Update KL control and balancer."""
        control = self.weights.get("kl")
        if "kl" in measured and isinstance(control, KLControl):
            control.update(measured["kl"])
        norms = {
            name.removeprefix(BALANCED): values[0] for name, values in measured.items() if name.startswith(BALANCED)
        }
        if norms and self.balancer:
            self.balancer.update(norms)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of balancer and KL control, JSON-serializable."""
        return {name: control.state_dict() for name, control in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of each control that is of the same kind as in `state`; others start anew."""
        for name, control in self._stateful().items():
            if state.get(name, {}).keys() == control.state_dict().keys():
                control.load_state_dict(state[name])

    def _stateful(self) -> dict[str, KLControl | GradientBalancer]:
        controls = {"kl": self.weights.get("kl"), "balancer": self.balancer}
        return {name: c for name, c in controls.items() if isinstance(c, KLControl | GradientBalancer)}

    def _decoder_only(self, step: int) -> bool:
        return self.decoder_only_from_step is not None and step >= self.decoder_only_from_step

    def _adversarial_terms(self, real: Tensor, fake: Tensor, step: int) -> AdversarialTerms:
        """Return the discriminator's terms; none before it has begun."""
        if self.adversary is None or not self.adversary.schedule.has_begun(step):
            return AdversarialTerms({})
        return adversarial_step(
            self.adversary.discriminator,
            real,
            fake,
            self.adversary.loss,
            train_discriminator=self.adversary.schedule.updates(step),
        )

    def _weights_at(self, step: int) -> dict[str, float | Tensor]:
        """Return the weights of this step, without inactive terms."""
        inactive: set[str] = set()
        if self.adversary and not self.adversary.schedule.has_begun(step):
            inactive |= set(ADVERSARIAL_TERMS)
        if self._decoder_only(step):
            own = extract_model_from_parallel(self.model).reconstruction_terms
            inactive |= self.weights.keys() - self.losses.keys() - set(ADVERSARIAL_TERMS) - set(own)
        return {name: w(step) if callable(w) else w for name, w in self.weights.items() if name not in inactive}
