from typing import Any, Self

from pydantic import Field, model_validator

from hf_audio_vae.training.code_streams import CodesTrainingConfig
from hf_audio_vae.training.config import replaced_by_pretrained
from hf_audio_vae.training.sections import Changeable
from hf_audio_vae.training.token_prior.config import DERIVED
from hf_audio_vae.training.weights import AnnealedWeight, FreeBitsWeight, WeightOptions

MODEL_TYPE = "model_type"


class TokenVAETrainingConfig(CodesTrainingConfig):
    """Options of a training run of a `TokenVAE`."""

    encoder: dict[str, Any] = Field(
        default_factory=lambda: {MODEL_TYPE: "bert"},
        description="type of the encoder and options of its configuration",
    )
    decoder: dict[str, Any] = Field(
        default_factory=lambda: {MODEL_TYPE: "gpt2"},
        description="type of the decoder and options of its configuration",
    )
    model: dict[str, Any] = Field(default_factory=dict, description="other arguments of `TokenVAEConfig`")
    encoder_name_or_path: str | None = Field(None, description="start from this encoder instead of a new one")
    decoder_name_or_path: str | None = Field(None, description="start from this decoder instead of a new one")
    pretrained_model_name_or_path: str | None = Field(None, description="continue the training of this TokenVAE")
    pretrained_subfolder: str | None = Field(None, description="subfolder of the model, `ema` in a checkpoint")
    pretrained_revision: str | None = None

    kl_weight: WeightOptions = Field(
        default_factory=lambda: FreeBitsWeight(
            free_bits=0.25, weight=AnnealedWeight(schedule="cyclical", weight=1.0, steps=500, start_step=250)
        ),
        description="weight of the KL, 1 for the ELBO; free bits are those of a channel of a latent vector",
    )
    word_dropout: float = Field(0.3, ge=0, lt=1, description="share of the decoder's input tokens that are hidden")
    validation_crops: Changeable[int] = Field(4, ge=1, description="validation crops of each row")
    min_latent_gain: Changeable[float] = Field(
        0.1, ge=0, description="warn if the own latents save less than this, in nats per code, against another item's"
    )

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            if derived := sorted(part.keys() & set(DERIVED)):
                raise ValueError(f"`{name}` has {derived}, which are derived from the codes; leave them out")
            if MODEL_TYPE not in part:
                raise ValueError(f"`{name}` has no `{MODEL_TYPE}`; name a type of transformers")
        if (self.encoder_name_or_path is None) != (self.decoder_name_or_path is None):
            raise ValueError("give both `encoder_name_or_path` and `decoder_name_or_path`, or none of them")
        return self

    def ineffective_options(self) -> dict[str, str]:
        """Return options that have no effect in this recipe, each with the reason."""
        reasons = super().ineffective_options()
        if self.encoder_name_or_path is not None:
            reasons |= dict.fromkeys(("encoder", "decoder"), "with `encoder_name_or_path`")
        return reasons | replaced_by_pretrained(self, "encoder", "decoder", "model")
