from typing import Any, Self

from pydantic import Field, model_validator

from hf_audio_vae.training.code_streams import CodesTrainingConfig
from hf_audio_vae.training.config import replaced_by_pretrained

DERIVED = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")


class TokenPriorTrainingConfig(CodesTrainingConfig):
    """Options of a training run of a language model of codes."""

    upsample_from_level: int | None = Field(None, ge=1, description="coarser level that conditions `level`")

    model_type: str = Field("gpt2", description="type of a causal language model in transformers")
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of its configuration")
    pretrained_model_name_or_path: str | None = Field(None, description="continue the training of this model")
    pretrained_subfolder: str | None = Field(None, description="subfolder of the model, `ema` in a checkpoint")
    pretrained_revision: str | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if derived := sorted(self.model.keys() & set(DERIVED)):
            raise ValueError(f"`model` has {derived}, which are derived from the codes; leave them out")
        if self.upsample_from_level is not None and (self.level is None or self.level >= self.upsample_from_level):
            raise ValueError("`upsample_from_level` has to be coarser than `level`, with a higher number; give both")
        if self.upsample_from_level is not None and self.order is not None:
            raise ValueError("`order` applies to a level without `upsample_from_level`; leave it out")
        return self

    def ineffective_options(self) -> dict[str, str]:
        """Return options that have no effect in this recipe, each with the reason."""
        return super().ineffective_options() | replaced_by_pretrained(self, "model_type", "model")
