from pathlib import Path

import numpy as np
import torch

from hf_audio_vae.data import CodeStream, load_latent_stream
from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.training.held_out import first_crops
from tests.data.code_data import write_codes


def test_the_crops_of_a_row_cover_it_from_its_start(tmp_path: Path) -> None:
    tokens = CodeTokens((100,), "flattened")
    lengths = [7, 2, 20]
    sizes = {"codebook_sizes": [[100]]}
    write_codes(tmp_path, [[np.arange(n)[None] + 30 * i] for i, n in enumerate(lengths)], **sizes)
    stream = CodeStream(
        load_latent_stream(str(tmp_path)),
        tokens=tokens,
        columns=("codes",),
        unit_rate=1.0,
        segment_units=3,
        batch_size=1,
        seed=0,
        shuffle_buffer_size=1,
    )

    def crops(count: int, **options: int) -> list[list[int]]:
        return [tokens.decode(batch.input_ids[0])[0].tolist() for batch in first_crops(stream, count, **options)]

    assert crops(2) == [[0, 1, 2], [30, 31]]
    assert crops(3, crops_per_row=3, stride=3) == [
        *([0, 1, 2], [3, 4, 5], [6]),
        [30, 31],
        *([60, 61, 62], [63, 64, 65], [66, 67, 68]),
    ]
    ends = [bool((batch.input_ids == 2).any()) for batch in first_crops(stream, 1, crops_per_row=3, stride=3)]
    assert ends == [False, False, True], "only the last crop ends its sound"
    assert torch.equal(first_crops(stream, 1)[0].labels, first_crops(stream, 1)[0].input_ids)
