"""A `SpectrogramVAE` that decodes to mel spectrograms, for pipelines whose vocoder is a component."""

import torch
from torch import Tensor

from hf_audio_vae.models.inputs import check_latents
from hf_audio_vae.models.spectrogram_vae.modeling_spectrogram_vae import SpectrogramVAE
from hf_audio_vae.models.variational_outputs import VAEDecoderOutput


class MelVAE(SpectrogramVAE):
    """`SpectrogramVAE` whose `decode` returns mel spectrograms, as that of diffusers' `MMAudioVAE`.

    `Kandinsky6TI2VAPipeline` takes it as `audio_vae`, and makes waveforms of its spectrograms with the vocoder that is
    saved with the pipeline. Arguments and weights are those of a mono mel `SpectrogramVAE`: each class reads the
    folders of the other. `encode` and `forward` are the same.

    Raises:
        ValueError: As `SpectrogramVAE`, or the model has no mel spectrograms, or several channels of audio.

    Example:
        >>> sizes = {"window_length": 256, "mel_bins": 32, "sampling_rate": 8000}
        >>> model = MelVAE("mel", "residual", (64, 2), (1, 2), (8, 16), 1, 4, **sizes).eval()
        >>> latents = model.encode(torch.randn(1, 1, 1000)).latent_dist.mode()
        >>> latents.shape, model.decode(latents).sample.shape
        (torch.Size([1, 64, 8]), torch.Size([1, 32, 16]))
    """

    def register_to_config(self, **arguments: object) -> None:
        """Register the arguments, as `SpectrogramVAE`."""
        super().register_to_config(**arguments)
        front_end, audio_channels = self.layout.front_end, self.layout.audio_channels
        if front_end != "mel" or audio_channels != 1:
            raise ValueError(
                f"`front_end` is {front_end!r} and `audio_channels` {audio_channels}; a MelVAE decodes to mel "
                f"spectrograms of one channel: use 'mel' and 1, or a SpectrogramVAE."
            )

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> VAEDecoderOutput | tuple[Tensor]:
        """Decode latents into a mel spectrogram.

        Args:
            z (`torch.Tensor`): Latents (batch, latent_channels * latent_bins, frames), frames >= 1; or as
                `SpectrogramVAE`, of four dimensions.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator`, *optional*): Unused, since decoding is deterministic.

        Returns:
            `VAEDecoderOutput`, or `(sample,)`: Natural logarithm of mel magnitudes, (batch, mel_bins,
            frames * temporal_compression_ratio); or as `SpectrogramVAE` of four-dimensional latents.

        Raises:
            ValueError: Wrong rank, shape or dtype; empty, NaN or infinite; or the output is NaN or infinite.
        """
        if isinstance(z, Tensor) and z.ndim == 4:
            return super().decode(z, return_dict, generator)
        check_latents(z, self.latent_channels)
        spatial = z.unflatten(1, (self.config.latent_channels, -1)).transpose(2, 3)
        (spectrogram,) = super().decode(spatial, False)
        mel = spectrogram.squeeze(1).mT
        return VAEDecoderOutput(sample=mel) if return_dict else (mel,)
