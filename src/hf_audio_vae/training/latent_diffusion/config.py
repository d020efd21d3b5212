from typing import Any, Literal, Self

from pydantic import Field, model_validator

from hf_audio_vae.losses.diffusion import DiffusionProcess, RectifiedFlow, VPrediction
from hf_audio_vae.training.config import TrainingConfig, replaced_by_pretrained
from hf_audio_vae.training.sections import Changeable

DERIVED = ("sample_size", "in_channels", "out_channels", "cross_attention_input_dim", "global_states_input_dim")


class LatentDiffusionTrainingConfig(TrainingConfig):
    """Options of a training run of latent diffusion."""

    vae_name_or_path: str = Field(description="autoencoder of the latents, folder or Hub id")
    vae_subfolder: str | None = Field(None, description="subfolder of the autoencoder, `vae` in a pipeline")
    vae_revision: str | None = None

    dataset_name: str = Field(description="latents written by `hf-audio-vae encode-dataset`, folder or Hub id")
    validation_dataset_name: str = Field(description="held-out latents")
    validation_dataset_revision: str | None = None
    label_column: str | None = Field(None, description="condition on the classes in this column")
    text_column: str | None = Field(None, description="condition on the texts in this column")
    text_encoder_name_or_path: str | None = Field(None, description="T5 encoder and tokenizer, folder or Hub id")
    text_encoder_revision: str | None = None

    process: Literal["rectified_flow", "v_prediction"] = "rectified_flow"
    logit_normal: bool = Field(True, description="sample the times of rectified flow from a logit-normal distribution")
    condition_dropout: float = Field(0.1, ge=0, lt=1, description="probability of dropping class and text of an item")

    transformer: dict[str, Any] = Field(default_factory=dict, description="arguments of StableAudioDiTModel")
    conditioner_hidden_size: int = Field(768, ge=1, description="width of the conditioning tokens")
    pretrained_model_name_or_path: str | None = Field(
        None, description="continue the training of this pipeline's networks"
    )
    pretrained_subfolder: str | None = Field(None, description="subfolder of the networks, `ema` in a checkpoint")
    pretrained_revision: str | None = None

    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.99, ge=0, lt=1)

    num_validation_sounds: Changeable[int] = Field(
        4, ge=0, description="number of sounds to generate, log and compare with the data"
    )
    validation_inference_steps: Changeable[int] = Field(50, ge=1, le=10_000)
    validation_guidance_scale: Changeable[float] = 4.0

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if derived := sorted(self.transformer.keys() & set(DERIVED)):
            raise ValueError(f"`transformer` has {derived}, which are derived from the other options; leave them out")
        if (self.text_column is None) != (self.text_encoder_name_or_path is None):
            raise ValueError("`text_column` and `text_encoder_name_or_path` go together; give both or neither")
        return self

    def ineffective_options(self) -> dict[str, str]:
        """Return options that have no effect in this recipe, each with the reason."""
        reasons = super().ineffective_options() | replaced_by_pretrained(
            self, "transformer", "conditioner_hidden_size"
        )
        if self.process != "rectified_flow":
            reasons["logit_normal"] = f"with `process` {self.process}"
        if self.text_encoder_name_or_path is None:
            reasons["text_encoder_revision"] = "without `text_encoder_name_or_path`"
        if self.num_validation_sounds == 0:
            reasons |= dict.fromkeys(
                ("validation_inference_steps", "validation_guidance_scale"), "with `num_validation_sounds` 0"
            )
        return reasons

    def build_process(self) -> DiffusionProcess:
        """Return the diffusion process."""
        return VPrediction() if self.process == "v_prediction" else RectifiedFlow(logit_normal=self.logit_normal)
