from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor, nn

from hf_audio_vae.data.crops import CropBatch
from hf_audio_vae.losses import AdversarialLoss, GradientBalancer, KLControl, Schedule, weighted_sum
from hf_audio_vae.training.autoencoder.steps import (
    ADVERSARIAL_TERMS,
    AdversarialTerms,
    adversarial_step,
    reconstruction_step,
)
from hf_audio_vae.training.objective import StepLosses

BALANCED = "gradient_norm/"  # prefix of the balancer's measurements


@dataclass(frozen=True)
class Adversary:
    """A discriminator with its loss and its schedule.

    Args:
        discriminator (`torch.nn.Module`): Prepared by accelerate.
        loss (`AdversarialLoss`): Hinge or least squares.
        start_step (`int`): First step with the discriminator.
        update_interval (`int`): Steps between its updates from then on.
    """

    discriminator: nn.Module
    loss: AdversarialLoss
    start_step: int = 0
    update_interval: int = 1


class AutoencoderObjective:
    """Reconstruction losses, regularisers and, with a discriminator, adversarial losses.

    Args:
        model (`torch.nn.Module`): Autoencoder prepared by accelerate.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses; none if the model has its own.
        weights (`Mapping[str, float | Schedule | KLControl]`): Weight of each term by name: reconstruction losses, the
            model's regularisers and, with an adversary, `"adversarial"` and `"feature_matching"`.
        adversary (`Adversary`, *optional*): Discriminator to train against.
        balancer (`GradientBalancer`, *optional*): Turns all weights except the regularisers' into shares of the
            gradient.
        decoder_only_from_step (`int`, *optional*): Step from which the encoder is frozen and the regularisers are
            left out. The decoder then trains on fixed latents.
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
    ) -> None:
        self.model = model
        self.losses = losses
        self.weights = weights
        self.adversary = adversary
        self.balancer = balancer
        self.decoder_only_from_step = decoder_only_from_step

    def __call__(self, batch: CropBatch, step: int) -> StepLosses:
        """Compute the losses of the autoencoder and, in its update steps, of the discriminator."""
        decoder_only = self._decoder_only(step)
        if decoder_only:
            extract_model_from_parallel(self.model).freeze_encoder()
        reconstruction = reconstruction_step(self.model, batch, self.losses)
        adversarial = self._adversarial_terms(reconstruction.target, reconstruction.waveform, step)
        of_waveform = reconstruction.distances | adversarial.generator
        regularisers = {} if decoder_only else reconstruction.regularisers
        weights = self._weights_at(step)
        plain = weighted_sum(of_waveform | regularisers, weights)

        losses = {"model": plain}
        measured: dict[str, Tensor] = {}
        if self.balancer:
            shares = {name: float(weights.pop(name)) for name in of_waveform}
            balanced, norms = self.balancer(of_waveform, shares, reconstruction.waveform)
            losses["model"] = balanced + weighted_sum(regularisers, weights)
            measured |= {BALANCED + name: norm for name, norm in norms.items()}
        if adversarial.discriminator is not None:
            losses["discriminator"] = adversarial.discriminator
        logged = (
            of_waveform | {name: term.sum() for name, term in reconstruction.regularisers.items()} | adversarial.logged
        )
        if "kl" in regularisers:
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
        """Return the discriminator's terms; none before `start_step`."""
        if self.adversary is None or step < self.adversary.start_step:
            return AdversarialTerms({})
        train_discriminator = (step - self.adversary.start_step) % self.adversary.update_interval == 0
        return adversarial_step(
            self.adversary.discriminator, real, fake, self.adversary.loss, train_discriminator=train_discriminator
        )

    def _weights_at(self, step: int) -> dict[str, float | Tensor]:
        """Return the weights of this step, without inactive terms."""
        inactive: set[str] = set()
        if self.adversary and step < self.adversary.start_step:
            inactive |= set(ADVERSARIAL_TERMS)
        if self._decoder_only(step):
            own = extract_model_from_parallel(self.model).reconstruction_terms
            inactive |= self.weights.keys() - self.losses.keys() - set(ADVERSARIAL_TERMS) - set(own)
        return {name: w(step) if callable(w) else w for name, w in self.weights.items() if name not in inactive}
