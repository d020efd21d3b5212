import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hf_audio_vae.latents import LatentsInfo, StoredCodes, load_codes, load_latents, save_codes, save_latents
from hf_audio_vae.latents.storage import CODES_FORMAT, LATENTS_FORMAT, WITHOUT_CHECKSUM, holds_codes

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
    written = [codes(16, frames=50 * 2**level) for level in reversed(range(levels))]
    save_codes(tmp_path / "a", written, INFO, codebook_sizes=(16,) * levels)
    stored = load_codes(tmp_path / "a").codes
    assert isinstance(stored, tuple)
    assert len(stored) == levels
    assert all(map(torch.equal, stored, written))


def test_a_scale_comes_back_to_the_bit(tmp_path: Path) -> None:
    scales = torch.tensor([0.123456789])
    save_codes(tmp_path / "a", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16), scales=scales)
    stored = load_codes(tmp_path / "a")
    assert stored.scales is not None
    assert torch.equal(stored.scales, scales)


def test_files_tell_what_they_hold(tmp_path: Path) -> None:
    save_codes(tmp_path / "codes", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16))
    save_latents(tmp_path / "latents", torch.zeros(2, 50), torch.ones(2, 50), INFO)
    assert holds_codes(tmp_path / "codes")
    assert not holds_codes(tmp_path / "latents")
    assert load_latents(tmp_path / "latents")[2] == INFO
    with pytest.raises(ValueError, match="has format 'hf_audio_vae.codes.v2', not 'hf_audio_vae.latents.v2'"):
        load_latents(tmp_path / "codes")
    with pytest.raises(ValueError, match="has format 'hf_audio_vae.latents.v2', not 'hf_audio_vae.codes.v2'"):
        load_codes(tmp_path / "latents")


def test_a_file_that_lacks_something_is_refused(tmp_path: Path) -> None:
    whole = {"format": WITHOUT_CHECKSUM[CODES_FORMAT], **{name: str(value) for name, value in vars(INFO).items()}}
    save_file({"codes": torch.zeros(1, 5)}, tmp_path / "a", {k: v for k, v in whole.items() if k != "num_samples"})
    with pytest.raises(ValueError, match="has no metadata num_samples"):
        load_codes(tmp_path / "a")
    save_file({"mean": torch.zeros(1, 5)}, tmp_path / "b", whole)
    with pytest.raises(ValueError, match=r"has the tensors \['mean'\], expected \['codes_0'\]; encode it again"):
        load_codes(tmp_path / "b")
    (tmp_path / "c").write_text("no tensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        holds_codes(tmp_path / "c")


LATENTS = {"mean": torch.zeros(2, 50), "std": torch.ones(2, 50)}
CODES = {"codes": codes(16, 16, frames=50)}
LEVELS = {"codes_0": codes(16, frames=100), "codes_1": codes(16, frames=50)}
FAULTS: dict[str, tuple[dict[str, torch.Tensor], dict[str, str], str]] = {
    "fewer frames": ({"mean": torch.zeros(2, 49), "std": torch.ones(2, 49)}, {}, "49 frames, but 999 samples are 50"),
    "another std": ({"mean": torch.zeros(2, 50), "std": torch.ones(2, 49)}, {}, r"`std` is .* of shape \(2, 49\)"),
    "no std": ({"mean": torch.zeros(2, 50)}, {}, r"has the tensors \['mean'\], expected \['mean', 'std'\]"),
    "another tensor": (LATENTS | {"x": torch.zeros(2, 50)}, {}, r"has the tensors \['mean', 'std', 'x'\]"),
    "integers": ({"mean": torch.zeros(2, 50).int(), "std": torch.ones(2, 50)}, {}, r"`mean` is torch\.int32"),
    "one row": ({"mean": torch.zeros(50), "std": torch.ones(50)}, {}, r"`mean` is .* of shape \(50,\)"),
    "NaN": (LATENTS | {"mean": torch.full((2, 50), torch.nan)}, {}, "NaN or infinite"),
    "overflow": (LATENTS | {"mean": torch.full((2, 50), 1e300, dtype=torch.float64)}, {}, "NaN or infinite"),
    "negative std": (LATENTS | {"std": -torch.ones(2, 50)}, {}, "a negative `std`"),
    "negative length": (LATENTS, {"num_samples": "-5"}, "`num_samples` is -5"),
    "too long": (LATENTS, {"num_samples": "1001"}, "50 frames, but 1001 samples are 51"),
    "too short": (LATENTS, {"num_samples": "980"}, "50 frames, but 980 samples are 49"),
    "no rate": (LATENTS, {"sampling_rate": "0"}, "`sampling_rate` is 0"),
    "no number": (LATENTS, {"hop_length": "twenty"}, "'twenty'"),
    "float codes": ({"codes": torch.zeros(2, 50)}, {}, r"`codes` is torch\.float32"),
    "negative codes": ({"codes": -CODES["codes"]}, {}, "expected codes from 0 on"),
    "no codes": ({"codes": CODES["codes"][:, :0]}, {}, "expected codes from 0 on"),
    "a level less": ({"codes_1": LEVELS["codes_1"]}, {}, r"expected \['codes_0'\]"),
    "levels that differ": (LEVELS | {"codes_0": codes(16, frames=99)}, {}, r"levels have \[99, 50\] frames"),
    "a scale of 0": (CODES | {"scales": torch.zeros(1)}, {}, "expected one positive number"),
    "two scales": (CODES | {"scales": torch.ones(2)}, {}, "expected one positive number"),
    "lost codebooks": (CODES, {"codebooks": "3"}, "not have the 3 codebooks"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_whose_content_contradicts_itself_is_refused(name: str, tmp_path: Path) -> None:
    tensors, changes, message = FAULTS[name]
    kind, load = (
        (CODES_FORMAT, load_codes) if any("codes" in key for key in tensors) else (LATENTS_FORMAT, load_latents)
    )
    metadata = {"format": WITHOUT_CHECKSUM[kind], **{key: str(value) for key, value in vars(INFO).items()}, **changes}
    save_file(tensors, tmp_path / "a", metadata)
    with pytest.raises(ValueError, match=rf"/a cannot be used: .*{message}.*; encode it again\.$"):
        load(tmp_path / "a")


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    mean = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    save_latents(tmp_path / "latents", mean, mean.abs(), INFO)
    save_codes(tmp_path / "codes", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16))
    for name, load in (("latents", load_latents), ("codes", load_codes)):
        content = (tmp_path / name).read_bytes()
        for position in random.Random(0).sample(range(len(content)), 300):
            damaged = bytearray(content)
            damaged[position] ^= 1 << position % 8
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(ValueError, match=name):
                load(tmp_path / name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_latents_of_any_float_type_are_taken(dtype: torch.dtype, tmp_path: Path) -> None:
    save_latents(tmp_path / "a", *(values.to(dtype) for values in LATENTS.values()), INFO)
    mean, std, _ = load_latents(tmp_path / "a")
    assert torch.equal(mean, LATENTS["mean"])
    assert torch.equal(std, LATENTS["std"])


def test_codes_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    save_codes(tmp_path / "a", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16))
    stored = load_codes(tmp_path / "a")
    stored.check_codebooks((16, 16))
    with pytest.raises(ValueError, match="codes of 2 codebooks, the model has 3"):
        stored.check_codebooks((16, 16, 16))
    with pytest.raises(ValueError, match=r"codebook 1 lie in \[0, 15\], outside 0 to 7"):
        stored.check_codebooks((16, 8))
    save_codes(tmp_path / "b", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16, 16))  # on purpose
    load_codes(tmp_path / "b").check_codebooks((16, 16, 16))
    stored.info.check_model(weights="0f", sampling_rate=16000)
    for change in ({"weights": "1e"}, {"sampling_rate": 8000}, {"hop_length": 10}):
        with pytest.raises(
            ValueError, match=rf"`{next(iter(change))}` .*use the model that encoded it, someone/a-model"
        ):
            stored.info.check_model(**change)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_latents, load_codes])
def test_a_mutated_file_is_refused_or_is_what_it_says(load: Callable[[Path], object], tmp_path: Path) -> None:
    save_latents(tmp_path / "a", LATENTS["mean"], LATENTS["std"], INFO)
    if load is load_codes:
        save_codes(tmp_path / "a", codes(16, 16, frames=50), INFO, codebook_sizes=(16, 16), scales=torch.ones(1))
    whole = (tmp_path / "a").read_bytes()
    draw, header = random.Random(0), int.from_bytes(whole[:8], "little") + 8
    refused = 0
    for _ in range(5000):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            position = draw.randrange(draw.choice((8, header, len(content))))
            content[position] = draw.choice((content[position] ^ 1 << draw.randrange(8), draw.randrange(256)))
        if draw.random() < 0.2:
            del content[draw.randrange(len(content)) :]
        (tmp_path / "a").write_bytes(content)
        try:
            loaded = load(tmp_path / "a")
        except (ValueError, OSError) as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            info = loaded.info if isinstance(loaded, StoredCodes) else loaded[2]
            frames = loaded.codes.shape[1] if isinstance(loaded, StoredCodes) else loaded[0].shape[1]
            assert 0 < info.num_samples <= frames * info.hop_length
    assert refused > 2000


def test_codes_that_would_not_come_back_are_not_written(tmp_path: Path) -> None:
    for wrong in (2**16, 16, -1):
        values = torch.tensor([[0, 1], [wrong, 2]])
        for named in (values, [values[:1], values[1:]]):
            with pytest.raises(ValueError, match=r"codebook 1 lie in .*, outside 0 to 15"):
                save_codes(tmp_path / "a", named, INFO, codebook_sizes=(16, 16))
    with pytest.raises(ValueError, match="codes of 2 codebooks and 1 sizes"):
        save_codes(tmp_path / "a", torch.zeros(2, 3, dtype=torch.int64), INFO, codebook_sizes=(16,))
    assert not (tmp_path / "a").exists()
