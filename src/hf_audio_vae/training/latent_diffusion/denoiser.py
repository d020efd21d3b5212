import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import StableAudioDiTModel
from torch import Tensor, nn

from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.denoising import denoise
from hf_audio_vae.models.inputs import check_sizes
from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import LatentConditioner
from hf_audio_vae.training.sections import options_of


class Denoiser(nn.Module):
    """The two networks of latent diffusion in one module.

    Args:
        transformer (`StableAudioDiTModel`): Denoiser.
        conditioner (`LatentConditioner`): Makes the conditioning tokens.
    """

    def __init__(self, transformer: StableAudioDiTModel, conditioner: LatentConditioner) -> None:
        super().__init__()
        self.transformer = transformer
        self.conditioner = conditioner

    def forward(
        self,
        latents: Tensor,
        times: Tensor,
        mask: Tensor,
        durations: Tensor,
        *,
        class_labels: Tensor | None = None,
        text: tuple[Tensor, Tensor] | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Condition and denoise; for arguments see `denoise` and `LatentConditioner`. `text` is (states, mask)."""
        states, text_mask = text or (None, None)
        condition = self.conditioner(
            durations,
            class_labels=class_labels,
            text_hidden_states=states,
            text_attention_mask=text_mask,
            dropped=dropped,
        )
        return denoise(self.transformer, latents, times, condition, mask)

    def check_fits(self, latent_channels: int, class_names: tuple[str, ...], text_hidden_size: int | None) -> None:
        """Raise `ValueError` unless the networks fit the latents, classes and texts."""
        config = self.conditioner.config
        actual = (self.transformer.config.in_channels, tuple(config.class_names), config.text_hidden_size)
        expected = (latent_channels, class_names, text_hidden_size)
        for name, ours, data in zip(("latent channels", "classes", "text width"), actual, expected, strict=True):
            if ours != data:
                raise ValueError(
                    f"the pretrained denoiser and the data differ in their {name}: {ours} and {data}; train a new one."
                )

    def save_pretrained(self, folder: Path) -> None:
        """Write `transformer/` and `conditioner/`, as in a pipeline."""
        self.transformer.save_pretrained(folder / "transformer")
        self.conditioner.save_pretrained(folder / "conditioner")

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, subfolder: str = "", revision: str | None = None) -> "Denoiser":
        """Load the networks from a `save_pretrained` folder or a pipeline. `folder` may be a Hub id."""
        options: dict[str, Any] = {"torch_dtype": torch.float32, "revision": revision}
        return cls(
            load_checked(StableAudioDiTModel, folder, subfolder=f"{subfolder}/transformer".lstrip("/"), **options),
            LatentConditioner.from_pretrained(folder, subfolder=f"{subfolder}/conditioner".lstrip("/"), **options),
        )


def new_denoiser(
    latent_channels: int,
    sample_size: int,
    transformer: Mapping[str, object],
    *,
    conditioner_hidden_size: int,
    class_names: tuple[str, ...],
    text_hidden_size: int | None,
) -> Denoiser:
    """Create matching networks with random weights.

    Args:
        latent_channels (`int`): Width of the latents.
        sample_size (`int`): Maximum number of frames to generate.
        transformer (`Mapping`): Further arguments of `StableAudioDiTModel`.
        conditioner_hidden_size (`int`): Width of the conditioner's tokens.
        class_names (`tuple[str, ...]`): Classes to condition on.
        text_hidden_size (`int`, *optional*): Width of the text encoder's states.

    Raises:
        ValueError: `StableAudioDiTModel` has no such argument, or cannot be built or run with its value.
    """
    known = inspect.signature(StableAudioDiTModel.__init__).parameters
    if unknown := sorted(transformer.keys() - known.keys()):
        raise ValueError(
            f"StableAudioDiTModel has no argument {', '.join(unknown)}; use {', '.join(list(known)[1:])}."
        )
    check_sizes(**{name: value for name, value in transformer.items() if known[name].annotation is int})
    head_dim: Any = transformer.get("attention_head_dim", known["attention_head_dim"].default)
    if head_dim % 4:
        raise ValueError(f"`attention_head_dim` is {head_dim}; rotary embeddings need a multiple of 4.")

    def build() -> Denoiser:
        network = StableAudioDiTModel(
            sample_size=sample_size,
            in_channels=latent_channels,
            out_channels=latent_channels,
            cross_attention_input_dim=conditioner_hidden_size,
            global_states_input_dim=conditioner_hidden_size,
            **transformer,
        )
        return Denoiser(network, LatentConditioner(conditioner_hidden_size, class_names, text_hidden_size))

    with options_of("StableAudioDiTModel", transformer):
        with torch.device("meta"):  # only shapes: sizes that do not fit each other are errors of the first step
            one = torch.ones(1)
            build()(torch.ones(1, latent_channels, 1), one, torch.ones(1, 1, dtype=torch.bool), one)
        return build()
