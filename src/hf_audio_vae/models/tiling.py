"""Coding in chunks: where a model does it, and how long they are."""

import math
from typing import Any

import torch

from hf_audio_vae.models.fusing import chunks_itself
from hf_audio_vae.models.inputs import check_tile_frames
from hf_audio_vae.modules.chunking import default_chunk_frames, even_chunk_frames

GPU_CHUNK_SECONDS = (
    30.0  # keeps a GPU busy; 3.7 GiB of activations for the published Stable Audio Open decoder, float32
)


def frames_for_device(frames: int, device: torch.device, frame_rate: float) -> int:
    """Return the frames of a chunk that makes good use of a device, `frames` or more."""
    return frames if device.type == "cpu" else max(frames, math.ceil(GPU_CHUNK_SECONDS * frame_rate))


class TilingMixin:
    """Adds coding in chunks to a model, whose frames are those of its coarsest level where it has several."""

    use_tiling = False
    _tile_frames: int | None = None

    @property
    def default_tile_frames(self: Any) -> int:
        """Frames a chunk, by `default_chunk_frames`, or more on a GPU."""
        return frames_for_device(default_chunk_frames(self.decoder, self.hop_length), self.device, self.frame_rate)

    @property
    def tile_frames(self) -> int:
        """Most frames a chunk."""
        return self._tile_frames or self.default_tile_frames

    def enable_tiling(self, tile_frames: int | None = None) -> None:
        """Encode and decode in chunks: the same result as at once, at a memory that does not grow with the length.

        A chunk's window holds the frames around it, too, that its result depends on.

        Args:
            tile_frames (`int`, *optional*): Frames a chunk, of the coarsest level where there are several. Windows
                then have one shape for signals longer than a window, as networks compiled for static shapes need it;
                a shorter signal has its own. If not given, chunks of like length, as few as there can be of
                `default_tile_frames`.

        Raises:
            ValueError: `tile_frames` is less than 1.
        """
        check_tile_frames(tile_frames)
        self._tile_frames = tile_frames
        self.use_tiling = True

    def disable_tiling(self) -> None:
        """Encode and decode at once."""
        self.use_tiling = False

    def _in_tiles(self, part: object, frames: int, ratio: int = 1) -> bool:
        """Whether an encoder or decoder codes so many frames in chunks, of a level with `ratio` for one."""
        return self.use_tiling and frames > ratio * self.tile_frames and not chunks_itself(part)

    def _chunk_frames(self, frames: int, ratio: int = 1) -> int:
        """Frames a chunk of so many, of a level with `ratio` for one."""
        most = ratio * self.tile_frames
        return even_chunk_frames(frames, most) if self._tile_frames is None else most
