"""Training step and validation metrics of a TokenVAE."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hf_audio_vae.data.codes import TokenBatch
from hf_audio_vae.evaluation.latents import LatentStatistics
from hf_audio_vae.evaluation.mutual_information import information
from hf_audio_vae.losses import KLControl, Schedule
from hf_audio_vae.models import TokenVAE
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.tokens.code_tokens import FIRST_CODE, PAD
from hf_audio_vae.training.objective import StepLosses
from hf_audio_vae.training.token_prior.objective import CodeCosts, PriorTask, TokenErrors


def drop_words(input_ids: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Replace a random share of the codes by padding (Bowman et al., 2016, arXiv:1511.06349).

    Begin, blanks and end stay. The decoder sees padding nowhere else, so its embedding means an unknown code.

    Args:
        input_ids (`torch.Tensor` of shape `(batch, length)`): Tokens.
        share (`float`): Share to replace, in [0, 1).
        generator (`torch.Generator`, *optional*): Random source.
    """
    if not share:
        return input_ids
    dropped = torch.rand(input_ids.shape, generator=generator, device=input_ids.device) < share
    return input_ids.masked_fill(dropped & (input_ids >= FIRST_CODE), PAD)


class TokenVAEObjective:
    """Negative ELBO in nats per token with a weighted KL, averaged per item and then over the batch.

    Args:
        model (`torch.nn.Module`): `TokenVAE` prepared by accelerate.
        kl_weight (`float`, `Schedule` or `KLControl`): Weight of the KL, 1 for the ELBO.
        word_dropout (`float`): Share of the codes that the decoder does not read.
    """

    def __init__(
        self, model: nn.Module, kl_weight: float | Schedule | KLControl, *, word_dropout: float = 0.0
    ) -> None:
        self.model = model
        self.kl_weight = kl_weight
        self.word_dropout = word_dropout

    def __call__(self, batch: TokenBatch, step: int) -> StepLosses:
        """Compute the loss of a batch."""
        out = self.model(
            batch.input_ids,
            decoder_input_ids=drop_words(batch.input_ids, self.word_dropout),
            sample_posterior=True,
        )
        errors = TokenErrors.of(out.logits, batch.labels)
        kl = out.latent_dist.kl().sum(dim=2)  # nats of each item and channel
        weight = torch.as_tensor(self.kl_weight(step) if callable(self.kl_weight) else self.kl_weight)
        weighted = (kl * weight.to(kl.device, non_blocking=True)).sum(dim=1)
        loss = (errors.of_items + weighted / errors.tokens).mean()
        logged = {
            "loss": loss,
            "nats_per_token": errors.of_items.mean(),
            "kl": kl.sum(dim=1).mean(),  # nats a sequence
            "kl_nats_per_token": (kl.sum(dim=1) / errors.tokens).mean(),
            "kl_weight": weight.float().mean(),
        }
        return StepLosses({"model": loss}, logged, {"kl": out.latent_dist.kl().detach().mean(dim=(0, 2))})

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Update the control of the KL."""
        if isinstance(self.kl_weight, KLControl):
            self.kl_weight.update(measured["kl"])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the control, JSON-serializable."""
        return self.kl_weight.state_dict() if isinstance(self.kl_weight, KLControl) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a control of the same kind; another one starts anew."""
        if isinstance(self.kl_weight, KLControl) and state.keys() == self.kl_weight.state_dict().keys():
            self.kl_weight.load_state_dict(state)


@torch.no_grad()
def token_vae_metrics(
    model: TokenVAE, batches: Sequence[TokenBatch], task: PriorTask, device: torch.device
) -> dict[str, float]:
    """Return the held-out ELBO, and how much of it the latents explain.

    Each sequence is decoded from a sample of its posterior, and from the sample of the next sequence. All tokens are
    given to the decoder. Costs of codes are means over codebooks, see `CodeCosts`.

    Args:
        model (`TokenVAE`): Model.
        batches (`Sequence[TokenBatch]`): Batches from `first_crops`, two or more, of one sequence each.
        task (`PriorTask`): Codes and their tokens.
        device (`torch.device`): Device of the model.

    Raises:
        ValueError: There are fewer than two sequences, or a codebook has no codes in them.
    """
    if len(batches) < 2:
        raise ValueError(f"there are {len(batches)} validation sequences; give 2 or more, to compare their latents.")
    was_training = model.training
    model.eval()
    posteriors = [model.encode(batch.input_ids.to(device)).latent_dist for batch in batches]
    posterior = DiagonalGaussian(*(torch.cat([getattr(p, name) for p in posteriors]) for name in ("mean", "std")))
    latents = posterior.sample(torch.Generator().manual_seed(0))
    unigram_nats = task.unigram_nats()
    costs = {name: CodeCosts(task.learnt) for name in ("own", "other", "unigram")}
    nats = torch.zeros(len(batches), 2, dtype=torch.float64)
    for index, batch in enumerate(batches):
        ids, labels = batch.input_ids.to(device), batch.labels.to(device)
        pair = torch.stack([latents[index], latents[(index + 1) % len(batches)]])
        errors = TokenErrors.of(model(ids.expand(2, -1), latents=pair).logits, labels.expand(2, -1))
        nats[index] = errors.nats.sum(dim=1).cpu()
        costs["own"].add(errors.nats[:1], errors.labels[:1])
        costs["other"].add(errors.nats[1:], errors.labels[1:])
        costs["unigram"].add(unigram_nats[errors.labels[:1].clamp(min=0).cpu()].to(device), errors.labels[:1])
    model.train(was_training)
    own, other, unigram = (costs[name].nats for name in ("own", "other", "unigram"))
    tokens = sum(int((batch.labels[:, 1:] >= 0).sum()) for batch in batches) / len(batches)
    found = information(posterior, latents)
    statistics = LatentStatistics(frame_rate=1.0)  # rates are not used
    statistics.add(posterior)
    codes = sum(int((batch.labels >= FIRST_CODE).sum()) for batch in batches) / len(batches)
    elbo = own + found.kl / codes
    return {
        "elbo_nats_per_code": elbo,
        "nats_per_code": own,
        "nats_per_code_of_other_latents": other,
        "latent_gain": other - own,
        "kl_nats": found.kl,
        "kl_bits": found.kl / math.log(2),
        "mutual_information": found.mutual_information,
        "mutual_information_limit": found.limit,
        "active_units": float(statistics.active.sum()),
        "memoryless_nats_per_code": unigram,
        "elbo_ratio": elbo / unigram,
        "perplexity_bound": math.exp(min(nats[:, 0].mean().item() + found.kl, 700 * tokens) / tokens),
    }


def latents_warning(metrics: Mapping[str, float], min_gain: float) -> str | None:
    """Return a one-line warning, with the remedy, if the decoder hardly reads the latents, else `None`.

    Args:
        metrics (`Mapping[str, float]`): From `token_vae_metrics`.
        min_gain (`float`): Required gain of the own latents over another item's, in nats per code.
    """
    if metrics["latent_gain"] >= min_gain:
        return None
    return (
        f"the decoder ignores the latents: with another item's, a held-out code costs only "
        f"{metrics['latent_gain']:.3f} nats more, less than `min_latent_gain` {min_gain:g} (KL "
        f"{metrics['kl_nats']:.2f} nats, mutual information {metrics['mutual_information']:.2f}); raise `free_bits` "
        f"or `word_dropout`, or let `kl_weight` start later."
    )
