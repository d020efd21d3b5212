"""The log of validations, and the model of the best one."""

import logging
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from hf_audio_vae.evaluation.card_metadata import read_card
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.training.best import BestModel, validation_line
from tests.training.runs import RECIPE, command, run, write_recipe

LABELS = {"si_sdr_db": "SI-SDR (dB, ↑)", "mel_distance": "mel distance (↓)", "kl": "KL"}


@pytest.fixture(autouse=True)
def logs() -> None:
    Accelerator(cpu=True)  # loggers of accelerate need one


def history(*values: float) -> list[dict[str, float]]:
    return [{"step": 10 * i, "mel_distance": value} for i, value in enumerate(values)]


def test_a_line_marks_the_values_that_are_the_best_so_far() -> None:
    first = {"step": 0, "si_sdr_db": -3.0, "mel_distance": 4.0, "kl": 9.0}
    second = {"step": 20, "si_sdr_db": 1.0, "mel_distance": 5.0, "kl": 1.0}
    assert validation_line([first], LABELS) == "step 0: SI-SDR (dB, ↑) -3.000, mel distance (↓) 4.000, KL 9.000"
    assert validation_line([first, second], LABELS) == (
        "step 20: SI-SDR (dB, ↑) 1.000 *, mel distance (↓) 5.000, KL 1.000 (* best so far)"
    )


def test_only_a_better_validation_replaces_the_model(tmp_path: Path) -> None:
    saved = []

    def save(folder: Path) -> None:
        saved.append(folder)
        (folder / "config.json").write_text("{}")

    best = BestModel(tmp_path, "mel_distance", LABELS, save)
    rows = history(4.0, 3.0, 3.0, float("nan"), 3.5, 2.0)
    for end in range(1, len(rows) + 1):
        best.add(rows[:end])
    assert len(saved) == 3  # 4, 3 and 2
    card = read_card(best.folder / "README.md")
    assert card is not None
    assert "The averaged model of step 50, whose validation was the best" in card.text
    assert "mel distance (↓) 2.000" in card.text
    assert best.summary(rows) == f"best mel distance (↓): 2.000 at step 50, in {tmp_path / 'best'}"
    rows = history(*(row["mel_distance"] for row in rows), 2.5)
    best.add(rows)
    assert best.summary(rows) == f"best mel distance (↓): 2.000 at step 50, in {best.folder}; 2.500 at the end"


def test_the_kept_model_is_the_named_one_when_a_resumed_run_begins_to_keep_it(tmp_path: Path) -> None:
    rows = history(1.0, 3.0, 2.0)  # the best one was before the resume, when no model was kept
    best = BestModel(tmp_path, "mel_distance", LABELS, lambda folder: (folder / "config.json").write_text("{}"))
    best.resume(rows[:1])
    best.add(rows[:2])
    best.add(rows)
    kept = f"best mel distance (↓): 2.000 at step 20, in {tmp_path / 'best'}"
    assert best.summary(rows) == f"{kept}; 1.000 at step 0 is not kept"


def test_a_model_that_another_validation_has_chosen_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = history(4.0, 1.0)
    best = BestModel(tmp_path, "mel_distance", LABELS, lambda folder: (folder / "config.json").write_text("{}"))
    best.add(rows)
    best.resume(rows, comparable=False)
    assert "another validation has chosen its model" in caplog.text
    assert (tmp_path / "best-at-step-10/config.json").is_file()
    best.add([*rows, {"step": 20, "mel_distance": 2.0}])  # of harder sounds
    assert best.kept["step"] == 20


def test_metrics_without_better_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`best_metric` is kl; choose one of si_sdr_db, mel_distance"):
        BestModel(tmp_path, "kl", LABELS, print)
    with pytest.raises(ValueError, match="si_sdr_db, which this model does not have; choose one of mel_distance"):
        BestModel(tmp_path, "si_sdr_db", LABELS, print).add(history(1.0))


def test_the_metrics_to_choose_from_are_those_that_a_validation_has(tmp_path: Path) -> None:
    finished = run(command(write_recipe(tmp_path), tmp_path / "out", "--best_metric", "mel"))
    assert finished.returncode == 2
    assert "`best_metric` is mel; choose one of si_sdr_db, multi_resolution_stft, mel_distance." in finished.stderr


def test_a_model_that_a_resumed_run_has_not_reached_is_deleted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = history(4.0, 3.0)
    best = BestModel(tmp_path, "mel_distance", LABELS, lambda folder: (folder / "config.json").write_text("{}"))
    best.add(rows)
    best.resume(rows)
    assert (tmp_path / "best/config.json").is_file()
    with caplog.at_level(logging.INFO):
        best.resume(rows[:1])
    assert not (tmp_path / "best").exists()
    assert "whose model is of a later step" in caplog.text


def test_a_run_keeps_the_averaged_model_of_its_best_validation(tmp_path: Path) -> None:
    out = tmp_path / "out"
    # The learning rate is far too high, so the first validation is the best one.
    recipe = write_recipe(tmp_path, max_train_steps=2, validation_steps=1, learning_rate=1.0, ema_decay=0.0)
    finished = run(command(recipe, out, "--best_metric", "mel_distance"))
    assert finished.returncode == 0, finished.stderr
    assert f"at step 0, before the training, in {out / 'best'}; " in finished.stderr
    assert f"hf-audio-vae reconstruct {RECIPE['dataset_name']} --model {out / 'best'} " in finished.stdout
    kept, last = load_autoencoder(out / "best"), load_autoencoder(out)
    difference = [(a - b).abs().max() for a, b in zip(kept.parameters(), last.parameters(), strict=True)]
    assert torch.stack(difference).max() > 0.1
    again = run(command(recipe, tmp_path / "out"))
    assert again.returncode == 2
    assert "best" in again.stderr and "which the run would replace" in again.stderr
