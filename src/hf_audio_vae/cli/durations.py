"""How long decoding takes, for models that draw one sample after another."""

import sys
import time

import torch

from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.models import AutoencoderModel

MEASURED_SECONDS = 0.05  # of sound


class DecodingTime:
    """Announces the duration of decodings on stderr, if a model draws one sample after another.

    Args:
        model (`AutoencoderModel`): The model; its speed is measured on silence.
    """

    def __init__(self, model: AutoencoderModel) -> None:
        self.samples_a_second: float | None = None
        if not model.decodes_sample_by_sample:
            return
        silence = torch.zeros(
            1, model.config.audio_channels, int(MEASURED_SECONDS * model.sampling_rate) + 1, device=model.device
        )
        model(silence[..., :1])  # the first call takes longer
        started = time.perf_counter()
        model(silence)
        self.samples_a_second = silence.shape[-1] / (time.perf_counter() - started)

    def announce(self, name: str, num_samples: int) -> None:
        """Say how long the decoding of a sound with `num_samples` samples takes."""
        if self.samples_a_second is not None:
            seconds = num_samples / self.samples_a_second
            duration = f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
            speed = f"{self.samples_a_second:.0f} samples a second"
            print(f"{printable(name)}: decoding takes about {duration}, {speed}", file=sys.stderr)
