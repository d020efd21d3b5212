from dataclasses import dataclass

from torch import Tensor
from transformers import Cache
from transformers.utils import ModelOutput

from hf_audio_vae.modules.distributions import DiagonalGaussian


@dataclass
class TokenVAEOutput(ModelOutput):
    """Output of `TokenVAE`.

    Args:
        loss (`torch.Tensor`, *optional*): Negative ELBO in nats per token, a scalar: the mean over items of their
            cross-entropy and KL, divided by their number of predicted tokens. Without encoding, no KL.
        logits (`torch.Tensor` of shape `(batch, length, vocab_size)`): Predictions of the next token.
        latent_dist (`DiagonalGaussian`, *optional*): Posterior over latents of shape (batch, latent_channels,
            num_latents), if the sequence was encoded.
        past_key_values (`Cache`, *optional*): Cache of the decoder.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    latent_dist: DiagonalGaussian | None = None
    past_key_values: Cache | None = None
