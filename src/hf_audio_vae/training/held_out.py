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


def first_crops(stream: CropSource[CropT, BatchT], count: int) -> list[BatchT]:
    """Return the starts of the first `count` rows in the stream's order, one batch each. Bad rows are skipped."""
    batches: list[BatchT] = []
    for example in stream.shuffled(stream.source, 0):
        if len(batches) == count:
            break
        try:
            crop = stream.crop(example, 0)
        except BadItemError as error:
            logger.warning(f"skipped {stream.name(example)}: {error}")
            continue
        batches.append(stream.collate([crop], Origin([stream.name(example)], [0], 0, Position())))
    return batches
