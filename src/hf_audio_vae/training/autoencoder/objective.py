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
    """The discriminator and when it plays.

    Args:
        discriminator (`torch.nn.Module`): Prepared by accelerate.
        loss (`AdversarialLoss`): Hinge or least squares.
        start_step (`int`): First step with it.
        update_interval (`int`): It learns in every so many steps from then on.
    """

    discriminator: nn.Module
    loss: AdversarialLoss
    start_step: int = 0
    update_interval: int = 1


class AutoencoderObjective:
    """Reconstruction, regularisers, and adversarial terms if there is a discriminator.

    Args:
        model (`torch.nn.Module`): Autoencoder prepared by accelerate.
        losses (`Mapping[str, torch.nn.Module]`): Reconstruction losses.
        weights (`Mapping[str, float | Schedule | KLControl]`): One for each term by name: reconstruction losses, the
            model's regularisers and, with an adversary, `"adversarial"` and `"feature_matching"`.
        adversary (`Adversary`, *optional*): Whom to convince.
        balancer (`GradientBalancer`, *optional*): Makes all weights but the regularisers' shares of the gradient.
        decoder_only_from_step (`int`, *optional*): From this step on the encoder is frozen and the regularisers are
            left out: the decoder learns to make the best of the latents there are.
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
        """Compute the losses of the autoencoder and, when it learns, of the discriminator."""
        decoder_only = self._decoder_only(step)
        if decoder_only:
            extract_model_from_parallel(self.model).freeze_encoder()
        made = reconstruction_step(self.model, batch, self.losses)
        adversarial = self._adversarial_terms(made.target, made.waveform, step)
        of_waveform = made.distances | adversarial.generator
        regularisers = {} if decoder_only else made.regularisers
        weights = self._weights_at(step)
        plain = weighted_sum(of_waveform | regularisers, weights)

        losses = {"model": plain}
        measured: dict[str, Tensor] = {}
        if self.balancer:
            shares = {name: float(weights.pop(name)) for name in of_waveform}
            balanced, norms = self.balancer(of_waveform, shares, made.waveform)
            losses["model"] = balanced + weighted_sum(regularisers, weights)
            measured |= {BALANCED + name: norm for name, norm in norms.items()}
        if adversarial.discriminator is not None:
            losses["discriminator"] = adversarial.discriminator
        logged = of_waveform | {name: term.sum() for name, term in made.regularisers.items()} | adversarial.logged
        if "kl" in regularisers:
            measured["kl"] = regularisers["kl"].detach()
            # On the CPU, where the loop averages it: a copy to a GPU would wait for the GPU.
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
        """Return what balancer and KL control have learnt, fit for JSON."""
        return {name: part.state_dict() for name, part in self._stateful().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])

    def _stateful(self) -> dict[str, KLControl | GradientBalancer]:
        parts = {"kl": self.weights.get("kl"), "balancer": self.balancer}
        return {name: part for name, part in parts.items() if isinstance(part, KLControl | GradientBalancer)}

    def _decoder_only(self, step: int) -> bool:
        return self.decoder_only_from_step is not None and step >= self.decoder_only_from_step

    def _adversarial_terms(self, real: Tensor, fake: Tensor, step: int) -> AdversarialTerms:
        """Ask the discriminator, if it plays yet."""
        if self.adversary is None or step < self.adversary.start_step:
            return AdversarialTerms({})
        learns = (step - self.adversary.start_step) % self.adversary.update_interval == 0
        return adversarial_step(
            self.adversary.discriminator, real, fake, self.adversary.loss, train_discriminator=learns
        )

    def _weights_at(self, step: int) -> dict[str, float | Tensor]:
        """Return the weights of this step; those of terms that have not begun, or are over, stay out."""
        dormant: set[str] = set()
        if self.adversary and step < self.adversary.start_step:
            dormant |= set(ADVERSARIAL_TERMS)
        if self._decoder_only(step):
            dormant |= self.weights.keys() - self.losses.keys() - set(ADVERSARIAL_TERMS)
        return {name: w(step) if callable(w) else w for name, w in self.weights.items() if name not in dormant}
