"""From codes to a TokenVAE that transformers loads, by the script, as small as it comes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from hf_audio_vae import TokenVAE
from hf_audio_vae.pipelines import Prior, generate_codes
from tests.data.code_data import write_codes
from tests.training.runs import REPO, equal, published_card, run, trained_weights
from tests.training.token_vae.test_token_vae import RECIPE

SCRIPT = str(REPO / "training/train_token_vae.py")
CHANGES = {
    "seed": 3,
    "dataloader_num_workers": 0,
    "max_validation_samples": 3,
    "train_batch_size": 4,
    "max_train_steps": 8,
    "learning_rate": 1e-2,
    "checkpointing_steps": 4,
    "validation_steps": 4,
    "logging_steps": 2,
    "report_to": "none",
}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("codes"), np.random.default_rng(0)
    for name, count in (("train", 11), ("held_out", 4)):
        rows = [[np.stack([np.full(n, i % 5), np.full(n, i % 3)])] for i, n in enumerate(rng.integers(9, 30, count))]
        write_codes(folder / name, rows)
    return folder


def command(material: Path, output_dir: Path, *options: str, **changes: object) -> list[str]:
    names = {"dataset_name": str(material / "train"), "validation_dataset_name": str(material / "held_out")}
    path = output_dir.with_name(f"{output_dir.name}.yaml")
    path.write_text(yaml.safe_dump(RECIPE | CHANGES | names | {"output_dir": str(output_dir)} | changes))
    return [sys.executable, SCRIPT, "--config", str(path), *options]


def test_from_codes_to_a_model_that_writes_them(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished = run(command(material, out))
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("the decoder ignores the latents") == 2, "at steps 4 and 8"
    assert "training data: 11 items" in finished.stderr
    assert f"hf-audio-vae generate {out} --output_dir {out}-sounds" in finished.stdout
    history = json.loads((out / "metrics.json").read_text())
    assert [row["step"] for row in history] == [0, 4, 8]
    card = published_card(out)
    assert f"{history[-1]['elbo_nats_per_code']:.3f}" in card
    assert "bert encoder, gpt2 decoder" in card
    prior = Prior.from_pretrained(out)
    assert prior.has_latents
    assert prior.info.segment_units == 10
    assert generate_codes(prior, 4).shape == (1, 2, 4)
    assert TokenVAE.from_pretrained(out / "checkpoint-4" / "ema").config.latent_channels == 4


@pytest.mark.slow
def test_training_continues_from_a_published_model(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(command(material, out)).returncode == 0
    history = json.loads((out / "metrics.json").read_text())
    continued = run(command(material, tmp_path / "more", pretrained_model_name_or_path=str(out), learning_rate=1e-3))
    assert continued.returncode == 0, continued.stderr
    after = json.loads((tmp_path / "more/metrics.json").read_text())
    assert after[0]["nats_per_code"] == pytest.approx(history[-1]["nats_per_code"])


@pytest.mark.slow
def test_resuming_is_bit_equal(material: Path, tmp_path: Path) -> None:
    kl = {"free_bits": 0.1, "weight": {"schedule": "cyclical", "weight": 1.0, "steps": 4, "start_step": 2}}
    straight = run(command(material, tmp_path / "straight", kl_weight=kl))
    assert straight.returncode == 0, straight.stderr
    first = run(command(material, tmp_path / "parts", kl_weight=kl, max_train_steps=4))
    assert first.returncode == 0, first.stderr
    second = run(command(material, tmp_path / "parts", "--resume_from_checkpoint", "latest", kl_weight=kl))
    assert second.returncode == 0, second.stderr
    assert equal(*(trained_weights(tmp_path / name, 8) for name in ("straight", "parts")))
