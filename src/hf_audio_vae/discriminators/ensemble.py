from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor

from hf_audio_vae.discriminators.multi_period import MultiPeriodDiscriminator
from hf_audio_vae.discriminators.multi_resolution import MultiResolutionDiscriminator
from hf_audio_vae.discriminators.multi_scale_stft import MultiScaleSTFTDiscriminator
from hf_audio_vae.discriminators.output import DiscriminatorOutput
from hf_audio_vae.files.location import check_revision
from hf_audio_vae.files.pretrained import CheckedPretrainedMixin

DISCRIMINATOR_FOLDER = "discriminator"  # subfolder of an autoencoder's folder
DISCRIMINATORS = {  # by their names in recipes
    "multi_period": MultiPeriodDiscriminator,
    "multi_resolution": MultiResolutionDiscriminator,
    "multi_scale_stft": MultiScaleSTFTDiscriminator,
}


class DiscriminatorEnsemble(CheckedPretrainedMixin, ModelMixin, ConfigMixin):
    """Several discriminators in one model.

    Args:
        audio_channels (`int`): Channels of the waveform.
        multi_period (`dict`, *optional*): Arguments of a `MultiPeriodDiscriminator`; `None` leaves it out.
        multi_resolution (`dict`, *optional*): Arguments of a `MultiResolutionDiscriminator`.
        multi_scale_stft (`dict`, *optional*): Arguments of a `MultiScaleSTFTDiscriminator`.

    Raises:
        ValueError: No discriminator is given.

    Example:
        >>> ensemble = DiscriminatorEnsemble(multi_period={"hidden_channels": 2}, multi_scale_stft={})
        >>> len(ensemble(torch.randn(1, 1, 4000)).logits)
        10
    """

    @register_to_config
    def __init__(
        self,
        audio_channels: int = 1,
        multi_period: Mapping[str, Any] | None = None,
        multi_resolution: Mapping[str, Any] | None = None,
        multi_scale_stft: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for kind, discriminator_class in DISCRIMINATORS.items():
            if (options := self.config[kind]) is not None:
                # Not the name of the configuration key: diffusers would confuse the two when loading.
                self.add_module(f"{kind}_discriminator", discriminator_class(audio_channels, **options))
        if not list(self.children()):
            raise ValueError(f"an ensemble needs a discriminator, at least one of {', '.join(DISCRIMINATORS)}.")

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """Score a waveform (batch, audio_channels, time) by all discriminators in order.

        Raises:
            ValueError: Wrong rank or channel count.
        """
        outputs = [discriminator(waveform) for discriminator in self.children()]
        return DiscriminatorOutput(
            logits=[logits for output in outputs for logits in output.logits],
            feature_maps=[maps for output in outputs for maps in output.feature_maps],
        )


def load_discriminators(
    pretrained_model_name_or_path: str | Path, revision: str | None = None
) -> DiscriminatorEnsemble:
    """Load the discriminators saved with a trained autoencoder.

    Args:
        pretrained_model_name_or_path (`str` or `Path`): The autoencoder's folder or Hub id.
        revision (`str`, *optional*): Revision of a Hub model.

    Returns:
        `DiscriminatorEnsemble`: In evaluation mode.

    Raises:
        ValueError: A revision of a folder is given; or see `from_pretrained`.
        OSError: There are no discriminators, or the Hub cannot be reached.
    """
    check_revision(pretrained_model_name_or_path, revision)
    folder = Path(pretrained_model_name_or_path)
    if not folder.is_dir():
        return DiscriminatorEnsemble.from_pretrained(
            str(pretrained_model_name_or_path), subfolder=DISCRIMINATOR_FOLDER, revision=revision
        )
    # With `subfolder`, diffusers would prefer the weights in the folder itself, which are the autoencoder's.
    if not (folder / DISCRIMINATOR_FOLDER).is_dir():
        raise OSError(
            f"{folder} has no folder {DISCRIMINATOR_FOLDER!r}; name the folder of an autoencoder that was trained "
            f"with discriminators."
        )
    return DiscriminatorEnsemble.from_pretrained(folder / DISCRIMINATOR_FOLDER)
