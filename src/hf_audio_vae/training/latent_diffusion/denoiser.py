import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import StableAudioDiTModel
from torch import Tensor, nn

from hf_audio_vae.models.denoising import denoise
from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import LatentConditioner


class Denoiser(nn.Module):
    """The two networks that latent diffusion trains, as one to prepare, average and save.

    Args:
        transformer (`StableAudioDiTModel`): Denoiser.
        conditioner (`LatentConditioner`): What conditions it.
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
        """Condition and denoise; arguments as in `denoise` and `LatentConditioner`, `text` states and their mask."""
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
        """Raise `ValueError` unless the networks were made for such latents, classes and texts."""
        config = self.conditioner.config
        theirs = (self.transformer.config.in_channels, tuple(config.class_names), config.text_hidden_size)
        wanted = (latent_channels, class_names, text_hidden_size)
        for name, their, ours in zip(("latent channels", "classes", "text width"), theirs, wanted, strict=True):
            if their != ours:
                raise ValueError(f"the pretrained denoiser has {name} {their}, the data {ours}; train a new one.")

    def save_pretrained(self, folder: Path) -> None:
        """Write `transformer/` and `conditioner/`, as a pipeline has them."""
        self.transformer.save_pretrained(folder / "transformer")
        self.conditioner.save_pretrained(folder / "conditioner")

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, subfolder: str = "", revision: str | None = None) -> "Denoiser":
        """Load what `save_pretrained` wrote, or what a pipeline has of it: `folder` may be a Hub id."""
        place = {"torch_dtype": torch.float32, "revision": revision}
        return cls(
            StableAudioDiTModel.from_pretrained(folder, subfolder=f"{subfolder}/transformer".lstrip("/"), **place),
            LatentConditioner.from_pretrained(folder, subfolder=f"{subfolder}/conditioner".lstrip("/"), **place),
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
    """Make networks with random weights that fit each other.

    Args:
        latent_channels (`int`): Width of the latents.
        sample_size (`int`): Most frames it will generate.
        transformer (`Mapping`): Further arguments of `StableAudioDiTModel`.
        conditioner_hidden_size (`int`): Width of the conditioner's tokens.
        class_names (`tuple[str, ...]`): Classes to condition on.
        text_hidden_size (`int`, *optional*): Width of the text encoder's states.

    Raises:
        ValueError: `StableAudioDiTModel` takes no such argument.
    """
    known = inspect.signature(StableAudioDiTModel.__init__).parameters
    if unknown := sorted(transformer.keys() - known.keys()):
        raise ValueError(f"StableAudioDiTModel takes no {', '.join(unknown)}; it takes {', '.join(list(known)[1:])}.")
    network = StableAudioDiTModel(
        sample_size=sample_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        cross_attention_input_dim=conditioner_hidden_size,
        global_states_input_dim=conditioner_hidden_size,
        **transformer,
    )
    return Denoiser(network, LatentConditioner(conditioner_hidden_size, class_names, text_hidden_size))
