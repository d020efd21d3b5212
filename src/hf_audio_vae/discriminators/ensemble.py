from collections.abc import Mapping
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from hf_audio_vae.discriminators.multi_period import MultiPeriodDiscriminator
from hf_audio_vae.discriminators.multi_resolution import MultiResolutionDiscriminator
from hf_audio_vae.discriminators.multi_scale_stft import MultiScaleSTFTDiscriminator
from hf_audio_vae.discriminators.output import DiscriminatorOutput

KINDS = {
    "multi_period": MultiPeriodDiscriminator,
    "multi_resolution": MultiResolutionDiscriminator,
    "multi_scale_stft": MultiScaleSTFTDiscriminator,
}
Discriminator = MultiPeriodDiscriminator | MultiResolutionDiscriminator | MultiScaleSTFTDiscriminator


class DiscriminatorEnsemble(nn.Module):
    """Several discriminators as one, saved side by side, each in a folder named after its kind.

    Args:
        discriminators (`Mapping[str, Discriminator]`): By kind, a name in `KINDS`.

    Raises:
        ValueError: There are none, or one has a name that is not its kind.

    Example:
        >>> ensemble = DiscriminatorEnsemble({"multi_period": MultiPeriodDiscriminator(hidden_channels=2)})
        >>> len(ensemble(torch.randn(1, 1, 4000)).logits)
        5
    """

    def __init__(self, discriminators: Mapping[str, Discriminator]) -> None:
        super().__init__()
        wrong = [name for name, module in discriminators.items() if not isinstance(module, KINDS.get(name, ()))]
        if wrong or not discriminators:
            raise ValueError(
                f"{wrong or 'nothing'} cannot be joined; name each discriminator by its kind: {list(KINDS)}."
            )
        self.kinds = dict(discriminators)
        for name, discriminator in self.kinds.items():
            self.add_module(name, discriminator)

    def forward(self, waveform: Tensor) -> DiscriminatorOutput:
        """Score a waveform (batch, audio_channels, time) by all, in order."""
        outputs = [discriminator(waveform) for discriminator in self.kinds.values()]
        return DiscriminatorOutput(
            logits=[logits for output in outputs for logits in output.logits],
            feature_maps=[maps for output in outputs for maps in output.feature_maps],
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write each discriminator, configuration and weights, to `folder/KIND`."""
        for name, discriminator in self.kinds.items():
            discriminator.save_pretrained(Path(folder) / name)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        subfolder: str = "discriminator",
        revision: str | None = None,
    ) -> Self:
        """Load all discriminators that lie beside a model.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): A folder or a Hub id.
            subfolder (`str`): Where in it they are.
            revision (`str`, *optional*): Version of a Hub model.

        Raises:
            ValueError: There are none.
        """
        name, found = str(pretrained_model_name_or_path), {}
        for kind, discriminator_class in KINDS.items():
            place = {"subfolder": f"{subfolder}/{kind}", "revision": revision}
            if Path(name).is_dir():
                # Here diffusers would prefer a file of the folder itself, the autoencoder's, to the subfolder's.
                folder = Path(name) / subfolder / kind
                if folder.is_dir():
                    found[kind] = discriminator_class.from_pretrained(folder)
                continue
            try:
                discriminator_class.load_config(name, **place)
            except OSError:
                continue
            found[kind] = discriminator_class.from_pretrained(name, **place)
        if not found:
            raise ValueError(f"{name} has no {list(KINDS)} in its folder {subfolder!r}.")
        return cls(found)
