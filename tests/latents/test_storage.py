from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hf_audio_vae.latents import LatentsInfo, load_codes, load_latents, save_codes, save_latents
from hf_audio_vae.latents.storage import CODES_FORMAT, holds_codes

INFO = LatentsInfo("someone/a-model", "0f", sampling_rate=16000, num_samples=999, audio_channels=1, hop_length=20)


def codes(*sizes: int, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([torch.randint(size, (frames,), generator=generator) for size in sizes])
    drawn[:, 0] = torch.tensor(sizes) - 1
    return drawn


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    [((2,), torch.int16), ((2**15,) * 3, torch.int16), ((2**15 + 1,), torch.int32), ((16, 2**20), torch.int32)],
)
def test_codes_come_back_from_the_smallest_integers_that_hold_them(
    sizes: tuple[int, ...], dtype: torch.dtype, tmp_path: Path
) -> None:
    written = codes(*sizes, frames=50)
    save_codes(tmp_path / "a", written, INFO, codebook_sizes=sizes)
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.get_tensor("codes").dtype == dtype
    stored = load_codes(tmp_path / "a")
    assert isinstance(stored.codes, torch.Tensor)
    assert stored.codes.dtype == torch.int64
    assert torch.equal(stored.codes, written)
    assert stored.scales is None
    assert stored.info == INFO


@pytest.mark.parametrize("levels", [1, 3, 12])
def test_levels_come_back_in_their_order(levels: int, tmp_path: Path) -> None:
    written = [codes(16, frames=50 + level) for level in range(levels)]
    save_codes(tmp_path / "a", written, INFO, codebook_sizes=(16,) * levels)
    stored = load_codes(tmp_path / "a").codes
    assert isinstance(stored, tuple)
    assert len(stored) == levels
    assert all(map(torch.equal, stored, written))


def test_a_scale_comes_back_to_the_bit(tmp_path: Path) -> None:
    scales = torch.tensor([0.123456789])
    save_codes(tmp_path / "a", codes(16, 16, frames=5), INFO, codebook_sizes=(16, 16), scales=scales)
    stored = load_codes(tmp_path / "a")
    assert stored.scales is not None
    assert torch.equal(stored.scales, scales)


def test_files_tell_what_they_hold(tmp_path: Path) -> None:
    save_codes(tmp_path / "codes", codes(16, 16, frames=5), INFO, codebook_sizes=(16, 16))
    save_latents(tmp_path / "latents", torch.zeros(2, 5), torch.ones(2, 5), INFO)
    assert holds_codes(tmp_path / "codes")
    assert not holds_codes(tmp_path / "latents")
    assert load_latents(tmp_path / "latents")[2] == INFO
    with pytest.raises(ValueError, match="has format 'hf_audio_vae.codes.v1', not 'hf_audio_vae.latents.v1'"):
        load_latents(tmp_path / "codes")
    with pytest.raises(ValueError, match="has format 'hf_audio_vae.latents.v1', not 'hf_audio_vae.codes.v1'"):
        load_codes(tmp_path / "latents")


def test_a_file_that_lacks_something_is_refused(tmp_path: Path) -> None:
    whole = {"format": CODES_FORMAT, **{name: str(value) for name, value in vars(INFO).items()}}
    save_file({"codes": torch.zeros(1, 5)}, tmp_path / "a", {k: v for k, v in whole.items() if k != "num_samples"})
    with pytest.raises(ValueError, match="has no metadata num_samples"):
        load_codes(tmp_path / "a")
    save_file({"mean": torch.zeros(1, 5)}, tmp_path / "b", whole)
    with pytest.raises(ValueError, match="has no tensor 'codes'"):
        load_codes(tmp_path / "b")
    (tmp_path / "c").write_text("no tensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        holds_codes(tmp_path / "c")


def test_codes_that_would_not_come_back_are_not_written(tmp_path: Path) -> None:
    for wrong in (2**16, 16, -1):
        values = torch.tensor([[0, 1], [wrong, 2]])
        for named in (values, [values[:1], values[1:]]):
            with pytest.raises(ValueError, match=r"codebook 1 lie in .*, outside 0 to 15"):
                save_codes(tmp_path / "a", named, INFO, codebook_sizes=(16, 16))
    with pytest.raises(ValueError, match="codes of 2 codebooks and 1 sizes"):
        save_codes(tmp_path / "a", torch.zeros(2, 3, dtype=torch.int64), INFO, codebook_sizes=(16,))
    assert not (tmp_path / "a").exists()
