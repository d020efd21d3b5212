"""Random crops of streamed audio."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError
from hf_audio_vae.data.clips import item_name, random_crop
from hf_audio_vae.data.streaming import BadItemError, ItemStream, Origin, StreamBatch


@dataclass
class CropBatch(StreamBatch):
    """A batch of crops.

    Args:
        origin (`Origin`): Origin of the samples.
        waveform (`torch.Tensor` of shape `(batch, audio_channels, crop_length)`): The crops.
        sampling_rate (`int`): Sampling rate of the crops in Hz.
    """

    waveform: Tensor
    sampling_rate: int

    @property
    def seconds(self) -> float:
        """Total seconds of sound of all crops."""
        return self.waveform.shape[0] * self.waveform.shape[-1] / self.sampling_rate

    def to(self, device: torch.device) -> "CropBatch":
        """Return the batch with its waveform on another device."""
        return replace(self, waveform=self.waveform.to(device, non_blocking=True))

    def pin_memory(self) -> "CropBatch":
        """Return the batch with its waveform in page-locked memory; the `DataLoader` calls this."""
        return replace(self, waveform=self.waveform.pin_memory())


@dataclass(eq=False, kw_only=True)
class CropStream(ItemStream[Tensor, CropBatch]):
    """Endless batches of random crops from a streamed data set.

    Options of batches, order and processes are those of `ItemStream`.

    Args:
        source (`datasets.IterableDataset`): From `load_audio_stream`.
        sampling_rate (`int`): Sampling rate of the crops in Hz.
        audio_channels (`int`): Channels of the crops, see `convert_channels`.
        crop_length (`int`): Samples per crop.
    """

    sampling_rate: int
    audio_channels: int
    crop_length: int

    @property
    def segment_length(self) -> int:
        """Samples per crop."""
        return self.crop_length

    def name(self, example: Mapping[str, Any]) -> str:
        """Return the item's path, or the checksum of its bytes."""
        return item_name(example["audio"])

    def read(self, example: Mapping[str, Any], seed: int) -> Tensor:
        """Decode a random crop, (audio_channels, crop_length)."""
        target_format = {"sampling_rate": self.sampling_rate, "audio_channels": self.audio_channels}
        try:
            crop, _ = random_crop(example["audio"], self.crop_length, seed, **target_format)
        except AudioDecodeError as error:
            raise BadItemError(str(error)) from error
        return crop

    def collate(self, samples: list[Tensor], origin: Origin) -> CropBatch:
        """Stack crops."""
        return CropBatch(origin, torch.stack(samples), self.sampling_rate)
