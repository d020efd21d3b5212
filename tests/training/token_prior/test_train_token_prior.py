"""From codes to a language model that transformers loads, by the script, as small as it comes."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hf_audio_vae.tokens import CodeTokens, UpsamplingTokens, load_tokens
from hf_audio_vae.tokens.code_tokens import BOS
from hf_audio_vae.tokens.constraint import CodeConstraint
from tests.data.code_data import write_codes
from tests.training.runs import REPO, TWO_PROCESSES, equal, kill_when, published_card, run

SCRIPT = str(REPO / "training/train_token_prior.py")
RECIPE = {
    "seed": 3,
    "segment_seconds": 0.12,
    "dataloader_num_workers": 0,
    "max_validation_samples": 3,
    "train_batch_size": 4,
    "max_train_steps": 8,
    "learning_rate": 1e-2,
    "order": "delayed",
    "model": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "checkpointing_steps": 4,
    "validation_steps": 100,
    "logging_steps": 2,
    "report_to": "none",
}
HIERARCHY = {"hop_lengths": [80, 160], "codebook_sizes": [[6], [3]], "hierarchical": True}


def walk(rng: np.random.Generator, frames: int, size: int) -> np.ndarray:
    """Codes that go up by one each frame: their neighbours tell all."""
    return (rng.integers(size) + np.arange(frames)) % size


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codes of two codebooks, and of two levels of which the coarse one tells the fine one."""
    folder, rng = tmp_path_factory.mktemp("codes"), np.random.default_rng(0)
    for name, count in (("train", 11), ("held_out", 4)):
        lengths = rng.integers(9, 30, count)
        write_codes(folder / name, [[np.stack([walk(rng, n, 5), walk(rng, n, 3)])] for n in lengths])
        coarse = [walk(rng, n, 3) for n in lengths]
        fine = [np.stack([2 * c, 2 * c + 1], axis=1).reshape(-1) for c in coarse]
        levels = [[f[None], c[None]] for f, c in zip(fine, coarse, strict=True)]
        write_codes(folder / f"levels_{name}", levels, **HIERARCHY)
    return folder


def command(
    material: Path,
    output_dir: Path,
    *options: str,
    launcher: tuple[str, ...] = (),
    levels: str = "",
    **changes: object,
) -> list[str]:
    recipe = RECIPE | {
        "dataset_name": str(material / f"{levels}train"),
        "validation_dataset_name": str(material / f"{levels}held_out"),
    }
    path = output_dir.with_name(f"{output_dir.name}.yaml")
    path.write_text(yaml.safe_dump(recipe | changes))
    return [sys.executable, *launcher, SCRIPT, "--config", str(path), "--output_dir", str(output_dir), *options]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_from_codes_to_a_model_that_writes_them(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    model = {"n_embd": 32, "n_layer": 2, "n_head": 2, "resid_pdrop": 0.0}
    finished = run(command(material, out, max_train_steps=120, ema_decay=0.9, model=model))
    assert finished.returncode == 0, finished.stderr
    assert "cost / unigram baseline" in finished.stdout
    history = json.loads((out / "metrics.json").read_text())
    assert history[-1]["nats_per_code"] < 0.8 * history[0]["nats_per_code"]
    assert history[-1]["code_loss_ratio"] < 0.8, "it knows of neighbours"
    card = published_card(out)
    assert f"{history[-1]['nats_per_code']:.3f}" in card
    assert "hf-audio-vae generate out --seconds 2" in card
    assert re.search(r"train`: 11 items, \d+\.\d s", card)
    tokens, info = load_tokens(out)
    assert tokens == CodeTokens((5, 3), "delayed")
    assert (info.model, info.levels, info.segment_units) == ("somebody/codec", (), 12)
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert loaded.generation_config.do_sample
    made = loaded.generate(torch.tensor([[BOS]]), logits_processor=[CodeConstraint(tokens, num_frames=9)])
    assert tokens.decode(made[0]).shape == (2, 9)


def test_an_upsampler_is_trained_by_the_same_script(material: Path, tmp_path: Path) -> None:
    options = {"level": 0, "upsample_from_level": 1, "order": None, "max_train_steps": 60, "ema_decay": 0.9}
    finished = run(command(material, tmp_path / "out", levels="levels_", **options))
    assert finished.returncode == 0, finished.stderr
    tokens, info = load_tokens(tmp_path / "out")
    assert tokens == UpsamplingTokens((3,), (6,), (1, 2))
    assert (info.levels, info.frame_rates, info.segment_units) == ((1, 0), (50.0, 100.0), 6)
    history = json.loads((tmp_path / "out/metrics.json").read_text())
    assert history[-1]["code_loss_ratio"] < 0.8
    card = published_card(tmp_path / "out")
    assert "hf-audio-vae generate COARSE --upsampler out" in card
    assert f"hf-audio-vae generate COARSE --upsampler {tmp_path / 'out'} --output_dir" in finished.stdout
    assert re.search(r"GPT2LMHeadModel: parameters \d\.\d\d M, architecture gpt2", finished.stderr)
    assert "training data: 11 items" in finished.stderr
    assert "given the coarser level's codes" in card


@pytest.mark.slow
def test_resume_after_a_kill_is_bit_equal(material: Path, tmp_path: Path) -> None:
    changes = {"dataloader_num_workers": 2}
    straight = run(command(material, tmp_path / "straight", **changes))
    assert straight.returncode == 0, straight.stderr
    arguments = command(material, tmp_path / "killed", **changes)
    kill_when(arguments, tmp_path / "killed/checkpoint-4")
    assert not (tmp_path / "killed/metrics.json").exists()
    finished = run([*arguments, "--resume_from_checkpoint", "latest"])
    assert "resumed from" in finished.stderr, finished.stderr
    assert equal(weights(tmp_path / "killed"), weights(tmp_path / "straight"))
    file = "checkpoint-8/optimizer.safetensors"
    assert equal(load_file(tmp_path / "killed" / file), load_file(tmp_path / "straight" / file))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_twice_the_batch(material: Path, tmp_path: Path) -> None:
    dropouts = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    changes = {"model": RECIPE["model"] | dropouts, "ema_decay": 0.0, "learning_rate": 1e-3}  # type: ignore[operator]
    one = run(command(material, tmp_path / "one", **changes, train_batch_size=8))
    two = run(command(material, tmp_path / "two", launcher=TWO_PROCESSES, **changes))
    assert one.returncode == two.returncode == 0, two.stderr
    expected = weights(tmp_path / "one")
    for name, weight in weights(tmp_path / "two").items():
        torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-5)


def test_training_goes_on_from_a_model(material: Path, tmp_path: Path) -> None:
    first = run(command(material, tmp_path / "first", gradient_checkpointing=True))
    assert first.returncode == 0, first.stderr
    options = ("--pretrained_model_name_or_path", str(tmp_path / "first"), "--learning_rate", "1e-30")
    second = run(command(material, tmp_path / "second", *options))
    assert second.returncode == 0, second.stderr
    assert equal(weights(tmp_path / "second"), weights(tmp_path / "first"))
    assert "was trained on codes of a model" not in second.stderr
    for name in ("train", "held_out"):
        shutil.copytree(material / name, tmp_path / name)
        path = tmp_path / name / "codes.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "of-another-codec"}))
    of_another = run(command(tmp_path, tmp_path / "another", *options))
    assert of_another.returncode == 0, of_another.stderr
    assert "first was trained on codes of a model with other weights" in of_another.stderr
    other = run(command(material, tmp_path / "third", *options, levels="levels_"))
    assert other.returncode == 2
    assert "was trained with `codebook_sizes` (5, 3), not (3,); it belongs to codes of another model" in other.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"upsample_from_level": 1}, "`upsample_from_level` has to be coarser than `level`"),
        ({"level": 0, "upsample_from_level": 1}, "`order` applies to a level without `upsample_from_level`"),
        ({"segment_seconds": 0.02}, "crops of 2 frames are too short for 2 delayed codebooks; .* to 0.03 at least"),
        ({"segment_seconds": 1e-9}, "`segment_seconds` is 1e-09, less than one frame at"),
        ({"level": 3}, "there is no level 3; the codes have the levels 0"),
        ({"model": {"vocab_size": 4}}, r"`model` has \['vocab_size'\], which are derived"),
        ({"order": "parallel"}, "order: Input should be 'flattened', 'delayed' or 'coarse_to_fine'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(
    material: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    finished = run(command(material, tmp_path / "out", **changes))
    assert finished.returncode == 2
    assert re.search(message, finished.stderr)
