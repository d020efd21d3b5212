"""What the command line does with codecs: codes on disk and back, their health in tables, files and cards."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    WaveformVQVAE,
    WaveformVQVAEConfig,
    load_autoencoder,
)

DATA = Path(__file__).parents[2] / "data/held_out"
SPEECH = DATA / "speech_en_0890.flac"  # 16 kHz, mono, 5.3 s
SHORT = ["--max_seconds", "0.3"]
TINY = {
    "sampling_rate": 16000,
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 8,
    "downsampling_ratios": (4, 5),
    "hidden_size": 8,
    "residual_dilations": (1,),
    "num_codebooks": 3,
    "codebook_size": 16,
    "codebook_dim": 4,
    "quantizer_dropout": 0.0,
}
LEVELS = {"sampling_rate": 16000, "hidden_size": 4, "width": 4, "depth": 1, "codebook_size": 16}


def configured(kind: str) -> PreTrainedModel:
    if kind == "levels":
        return HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS))
    changes = {
        "residual": {},
        "normalized": {"normalize": True, "norm": "time_group_norm"},  # as EnCodec at 48 kHz
        "finite scalars": {
            "fsq_levels": (200, 201),
            "num_codebooks": 1,
            "codebook_size": 200 * 201,
            "codebook_dim": None,
        },
    }
    return WaveformVQVAE(WaveformVQVAEConfig(**TINY | changes[kind]))


def codec(kind: str) -> PreTrainedModel:
    """A model with random weights whose codebooks start from speech."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = configured(kind)
        with torch.no_grad():
            model.train()(read_audio(SPEECH)[0][None, :, :16000])
    return model.eval()


KINDS = ["residual", "levels", "normalized", "finite scalars"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folders = {kind: tmp_path_factory.mktemp("models") / kind.replace(" ", "_") for kind in KINDS}
    for kind, folder in folders.items():
        codec(kind).save_pretrained(folder)
    return {kind: str(folder) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("speech")
    for name in ("speech_en_0890.flac", "speech_ru_ru_0014.flac"):
        shutil.copy(DATA / name, folder)
    return str(folder)


def tables(printed: str) -> list[list[list[str]]]:
    """The rows of each Markdown table, without its heading."""
    blocks = [[line for line in block.splitlines() if line.startswith("| ")] for block in printed.split("\n\n")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block[1:]] for block in blocks if block]


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_what_was_encoded_is_the_reconstruction(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    assert main(["encode", str(SPEECH), "--model", folders[kind], "--output_dir", str(tmp_path)]) == 0
    assert main(["decode", str(tmp_path / "speech_en_0890.safetensors"), "--output_dir", str(tmp_path)]) == 0
    decoded, rate = read_audio(tmp_path / "speech_en_0890.wav")
    with torch.no_grad():
        expected = codec(kind)(read_audio(SPEECH)[0][None]).sample[0]
    assert rate == 16000
    assert decoded.shape == expected.shape
    # Chunks move codes that lie between two entries, so that a frame may differ from what is decoded at once.
    far = ((decoded - expected).abs() > 1e-4 * expected.abs().max()).float().mean()
    assert far < 0.01


@pytest.mark.parametrize(
    ("kind", "shapes", "dtype"),
    [
        ("residual", {"codes": (3, 4240)}, torch.int16),
        ("levels", {"codes_0": (1, 10600), "codes_1": (1, 2652), "codes_2": (1, 663)}, torch.int16),
        ("normalized", {"codes": (3, 4240), "scales": (1,)}, torch.int16),
        ("finite scalars", {"codes": (1, 4240)}, torch.int32),
    ],
)
def test_a_file_holds_small_integers_and_where_they_come_from(
    kind: str, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, folders: dict[str, str], tmp_path: Path
) -> None:
    main(["encode", str(SPEECH), "--model", folders[kind], "--output_dir", str(tmp_path)])
    with safe_open(tmp_path / "speech_en_0890.safetensors", "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    frames = {name: values.shape for name, values in tensors.items()}
    samples = read_audio(SPEECH)[0].shape[-1]
    hops = (8, 32, 128) if kind == "levels" else (20,)
    padded = math.ceil(samples / hops[-1]) * hops[-1]
    expected = dict(shapes)
    for name, hop in zip([name for name in shapes if name.startswith("codes")], hops, strict=True):
        expected[name] = (shapes[name][0], padded // hop)
    assert {name: tuple(shape) for name, shape in frames.items()} == expected
    assert {values.dtype for name, values in tensors.items() if name.startswith("codes")} == {dtype}
    assert metadata["format"] == "hf_audio_vae.codes.v2"
    assert metadata["model"] == folders[kind]
    assert (metadata["num_samples"], metadata["sampling_rate"]) == (str(samples), "16000")


def test_large_codes_survive_the_disk(folders: dict[str, str], tmp_path: Path) -> None:
    main(["encode", str(SPEECH), "--model", folders["finite scalars"], "--output_dir", str(tmp_path)])
    with safe_open(tmp_path / "speech_en_0890.safetensors", "pt") as file:
        codes = file.get_tensor("codes").long()
    model = load_autoencoder(folders["finite scalars"])
    with torch.no_grad():
        expected = model.encode(read_audio(SPEECH)[0][None]).audio_codes[0]
    assert expected.max() > 2**14
    assert (codes != expected).float().mean() < 0.01


def test_what_cannot_be_cut_is_coded_as_a_whole_and_told(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", str(SPEECH), "--model", folders["normalized"], "--output_dir", str(tmp_path)]) == 0
    assert "processed as a whole" in capsys.readouterr().err
    assert main(["encode", str(SPEECH), "--model", folders["residual"], "--output_dir", str(tmp_path)]) == 0
    assert "as a whole" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["residual", "levels"])
def test_reconstruct_writes_sound_and_picture(kind: str, folders: dict[str, str], tmp_path: Path) -> None:
    assert main(["reconstruct", str(SPEECH), "--model", folders[kind], "--output_dir", str(tmp_path)]) == 0
    original, _ = read_audio(tmp_path / "speech_en_0890.original.wav")
    reconstruction, _ = read_audio(tmp_path / "speech_en_0890.reconstruction.wav")
    assert original.shape == reconstruction.shape
    assert (tmp_path / "speech_en_0890.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["residual", "levels"])
def test_inspect_tells_the_codes_of_the_clips(
    kind: str, folders: dict[str, str], speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path / "new")]
    assert main(["inspect", folders[kind], *arguments]) == 0
    report = json.loads((tmp_path / "new/codes.json").read_text())
    model = codec(kind)
    with torch.no_grad():
        clips = [read_audio(path)[0][None, :, :4800] for path in sorted(Path(speech).iterdir())]
        encoded = [model.encode(clip).audio_codes for clip in clips]
    rows: list[list[torch.Tensor]] = [
        list(one) if isinstance(one, tuple) else list(one.transpose(0, 1)) for one in encoded
    ]
    for codebook, parts in enumerate(zip(*rows, strict=True)):
        counts = torch.bincount(torch.cat([part.flatten() for part in parts]), minlength=16)
        share = counts[counts > 0] / counts.sum()
        figures = {name: values[codebook] for name, values in report["codebooks"].items()}
        assert figures["frames"] == counts.sum()
        assert figures["usage"] == pytest.approx((counts > 0).float().mean().item(), abs=1 / 15)
        assert figures["entropy_bits"] == pytest.approx(-(share * share.log2()).sum().item(), abs=0.05)
        assert counts.count_nonzero() > 4
    assert report["items"] == 2
    assert (tmp_path / "new/codes.png").read_bytes().startswith(b"\x89PNG")
    summary, codebooks = tables(capsys.readouterr().out)
    assert [row[1] for row in summary] == [f"{value:.3f}" for value in report["summary"].values()]
    assert [row[2] for row in codebooks] == [f"{value:.3f}" for value in report["codebooks"]["perplexity"]]


def test_codes_that_die_are_a_warning_and_no_error(
    speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = codec("residual")
    with torch.no_grad():
        for quantizer in model.quantizer.quantizers:
            quantizer.codebook.vectors[2:] = -quantizer.codebook.vectors[:1]  # only the first of equals is chosen
            quantizer.codebook.vectors[1] = -quantizer.codebook.vectors[0]
    model.save_pretrained(tmp_path)
    assert main(["inspect", str(tmp_path), "--dataset_name", speech, *SHORT]) == 0
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert "3 of 3 codebooks" in warning
    assert "of 16 codes" in warning
    assert main(["inspect", str(tmp_path), "--dataset_name", speech, *SHORT, "--min_active_share", "0"]) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["residual", "levels"])
def test_evaluate_and_card_have_the_codes_figures_of_inspection(
    kind: str, folders: dict[str, str], speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = ["--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path / "results")]
    assert main(["evaluate", "--model", folders[kind], *measured]) == 0
    evaluated = dict(tables(capsys.readouterr().out)[0])
    main(["inspect", folders[kind], "--dataset_name", speech, *SHORT])
    inspected = tables(capsys.readouterr().out)[0]
    results = ["--results", str(tmp_path / "results/results.json"), "--output_dir", str(tmp_path)]
    assert main(["card", folders[kind], *results]) == 0
    on_card = [row for block in tables((tmp_path / "README.md").read_text()) for row in block]
    assert len(inspected) == 7
    for name, value in inspected:
        assert evaluated[name] == value
        assert [name, value] in on_card
    assert any(name.startswith("commitment") for name in evaluated)


def test_codes_of_another_model_are_refused(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", str(SPEECH), "--model", folders["residual"], "--output_dir", str(tmp_path)])
    codes = str(tmp_path / "speech_en_0890.safetensors")
    assert main(["decode", codes, "--model", folders["levels"], "--output_dir", str(tmp_path)]) == 2
    assert "encoded with other weights" in capsys.readouterr().err
