import logging
from collections.abc import Sequence

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import PaddingStrategy, TensorType

from hf_audio_vae.models.inputs import check_sampling_rate

logger = logging.getLogger(__name__)

Audio = np.ndarray | torch.Tensor | Sequence[float] | Sequence[Sequence[float]]


class WaveformVQVAEFeatureExtractor(SequenceFeatureExtractor):
    """Makes the input batch of a `WaveformVQVAE` from any number of sounds of any length.

    Args:
        feature_size (`int`): Channels of a sound: the model's `audio_channels`.
        sampling_rate (`int`): Sampling rate of the model, in Hz.
        padding_value (`float`): Value that is appended to shorter sounds.
        kwargs: Other saved arguments of `SequenceFeatureExtractor`, such as `return_attention_mask`.

    Example:
        >>> extractor = WaveformVQVAEFeatureExtractor(feature_size=2, sampling_rate=16000)
        >>> batch = extractor([np.zeros((2, 300)), np.zeros((2, 500))], sampling_rate=16000, return_tensors="pt")
        >>> batch["input_values"].shape, batch["padding_mask"].sum(dim=1).tolist()
        (torch.Size([2, 2, 500]), [300, 500])
    """

    model_input_names = ["input_values", "padding_mask"]

    def __init__(
        self, feature_size: int = 1, sampling_rate: int = 44100, padding_value: float = 0.0, **kwargs: object
    ) -> None:
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        if self.padding_side != "right":
            raise ValueError(f"`padding_side` is {self.padding_side!r}; the model takes padding on the right only.")

    def __call__(
        self,
        raw_audio: Audio | Sequence[Audio],
        padding: bool | str | PaddingStrategy = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | TensorType | None = None,
        sampling_rate: int | None = None,
    ) -> BatchFeature:
        """Make a batch.

        Args:
            raw_audio (array, tensor or list, or a list of them): One sound or several, each (time,) if the model is
                mono, or (audio_channels, time); a batch may be one array (batch, audio_channels, time), too.
            padding (`bool` or `str`): `True` or `"longest"` for the longest sound, `"max_length"`, or `False`.
            truncation (`bool`): Cut sounds to `max_length`.
            max_length (`int`, *optional*): Samples.
            return_tensors (`str`, *optional*): `"pt"` or `"np"`.
            sampling_rate (`int`, *optional*): Sampling rate of the sounds in Hz, checked against the model's.

        Returns:
            `BatchFeature`: `input_values` (batch, audio_channels, time), float32, and, if padded, `padding_mask`
            (batch, time), 1 where there is sound.

        Raises:
            ValueError: Another sampling rate or number of channels; an empty sound, integers, NaN or infinity;
                no `max_length` to pad or cut to.
        """
        if sampling_rate is None:
            logger.warning("`sampling_rate` was not given and cannot be checked; pass the rate of the sounds.")
        check_sampling_rate(sampling_rate, self.sampling_rate)
        if (truncation or padding in ("max_length", PaddingStrategy.MAX_LENGTH)) and max_length is None:
            raise ValueError(
                f"`padding` {padding!r} with `truncation` {truncation} needs a `max_length`; give it in samples."
            )
        sounds = [self._checked(sound) for sound in _as_sounds(raw_audio, self.feature_size)]
        # The base class pads the first axis, and supports a second one only for several features.
        along_time = [sound.T if self.feature_size > 1 else sound[0] for sound in sounds]
        batch = self.pad(
            BatchFeature({"input_values": along_time}),
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            return_attention_mask=padding not in (False, "do_not_pad", PaddingStrategy.DO_NOT_PAD),
        )
        values = batch["input_values"]
        result = {"input_values": [np.atleast_2d(np.asarray(value).T) for value in values]}
        if "attention_mask" in batch:
            result["padding_mask"] = batch["attention_mask"]
        return BatchFeature(result, tensor_type=return_tensors)

    def _checked(self, sound: np.ndarray) -> np.ndarray:
        if sound.ndim != 2 or sound.shape[0] != self.feature_size or sound.shape[1] < 1:
            shape = f"({self.feature_size}, time)" + (" or (time,)" if self.feature_size == 1 else "")
            raise ValueError(
                f"a sound has shape {sound.shape}, expected {shape}; mix the channels down or up, or transpose it."
            )
        if not np.isfinite(sound).all():
            bad = sound.size - int(np.isfinite(sound).sum())
            raise ValueError(f"a sound holds {bad} values that are NaN or infinite; repair it or leave it out.")
        return sound


def _as_sounds(raw_audio: Audio | Sequence[Audio], channels: int) -> list[np.ndarray]:
    """Return one or several sounds as float32 arrays, (channels, time) each."""
    if isinstance(raw_audio, np.ndarray | torch.Tensor):
        several = raw_audio.ndim == 3
    else:
        if not len(raw_audio):
            raise ValueError("`raw_audio` is empty; give at least one sound.")
        several = np.ndim(raw_audio[0]) >= 1 and not _is_one_stereo_list(raw_audio, channels)
    sounds = [_as_array(sound) for sound in raw_audio] if several else [_as_array(raw_audio)]
    return [sound[None] if sound.ndim == 1 else sound for sound in sounds]


def _is_one_stereo_list(raw_audio: Sequence[float] | Sequence[Audio], channels: int) -> bool:
    """Whether a list holds the channels of one sound, rather than sounds."""
    return channels > 1 and len(raw_audio) == channels and all(np.ndim(channel) == 1 for channel in raw_audio)


def _as_array(sound: object) -> np.ndarray:
    if isinstance(sound, torch.Tensor):
        sound = sound.detach().cpu()
        sound = (sound.float() if sound.is_floating_point() else sound).numpy()
    array = np.asarray(sound)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"a sound has dtype {array.dtype}, the model takes floats in [-1, 1]; divide PCM by its full scale, int16 "
            f"by 32768."
        )
    return array.astype(np.float32, copy=False)
