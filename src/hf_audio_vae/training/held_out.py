"""Fixed validation crops for models of latents and of codes."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

import datasets
from accelerate.logging import get_logger

from hf_audio_vae.data.streaming import BadItemError, Origin, Position

logger = get_logger(__name__)
CropT = TypeVar("CropT")
BatchT = TypeVar("BatchT", covariant=True)


class CropSource(Protocol[CropT, BatchT]):
    """Interface of `LatentStream` and `CodeStream`."""

    source: datasets.IterableDataset

    def shuffled(self, source: datasets.IterableDataset, epoch: int) -> Iterable[Mapping[str, Any]]:
        """Return the rows in the order of an epoch."""

    def name(self, example: Mapping[str, Any]) -> str:
        """Return the name of a row for the log."""

    def crop(self, example: Mapping[str, Any], start: int) -> CropT:
        """Cut the crop that begins at `start`."""

    def collate(self, samples: list[CropT], origin: Origin) -> BatchT:
        """Combine crops into a batch."""


def first_crops(
    stream: CropSource[CropT, BatchT], count: int, *, crops_per_row: int = 1, stride: int = 0
) -> list[BatchT]:
    """Return crops of the first `count` rows in the stream's order, one batch each. Bad rows are skipped.

    Args:
        stream (`CropSource`): Stream of the rows.
        count (`int`): Maximum number of rows.
        crops_per_row (`int`): Crops of a row, from its start on; fewer if it is shorter.
        stride (`int`): Distance of the starts of its crops.
    """
    batches: list[BatchT] = []
    rows = 0
    for example in stream.shuffled(stream.source, 0):
        if rows == count:
            break
        for index in range(crops_per_row):
            try:
                crop = stream.crop(example, index * stride)
            except BadItemError as error:
                if index == 0:
                    logger.warning(f"skipped {stream.name(example)}: {error}")
                break
            rows += index == 0
            batches.append(stream.collate([crop], Origin([stream.name(example)], [0], 0, Position())))
    return batches
