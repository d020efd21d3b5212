"""Folders and checkpoints as users have them: written by version 0.1 and kept here as they were.

`saved/*/expected.safetensors` holds a waveform, and what the version that wrote the folder made of it.
"""

import shutil
import sys
from pathlib import Path

import datasets
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.data import read_record
from hf_audio_vae.data.code_records import CodesRecord
from hf_audio_vae.discriminators import load_discriminators
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.fingerprint import weights_fingerprint
from hf_audio_vae.tokens import load_tokens
from tests.training.runs import REPO, SCRIPT, run, trained_weights

SAVED = REPO / "tests/saved"
FAMILIES = ("waveform_vae", "waveform_vqvae", "hierarchical_vqvae")


def expected(name: str) -> dict[str, torch.Tensor]:
    return load_file(SAVED / name / "expected.safetensors")


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)  # processors round differently


@torch.no_grad()
def test_a_saved_vae_codes_as_it_did() -> None:
    model, wanted = load_autoencoder(SAVED / "waveform_vae"), expected("waveform_vae")
    posterior = model.encode(wanted["waveform"]).latent_dist
    close(posterior.mean, wanted["mean"])
    close(posterior.std, wanted["std"])
    close(model(wanted["waveform"]).sample, wanted["sample"])
    judge = load_discriminators(SAVED / "waveform_vae")
    assert all(logits.isfinite().all() for logits in judge(wanted["waveform"]).logits)


@torch.no_grad()
def test_saved_codecs_give_the_codes_and_the_sound_that_they_gave() -> None:
    model, wanted = load_autoencoder(SAVED / "waveform_vqvae"), expected("waveform_vqvae")
    assert torch.equal(model.encode(wanted["waveform"]).audio_codes, wanted["codes"])
    close(model.decode(wanted["codes"]).audio_values, wanted["sample"])
    model, wanted = load_autoencoder(SAVED / "hierarchical_vqvae"), expected("hierarchical_vqvae")
    levels = [wanted[f"codes_{level}"] for level in range(2)]
    assert all(map(torch.equal, model.encode(wanted["waveform"]).audio_codes, levels))
    close(model.decode(levels).audio_values, wanted["sample"])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_checkpoint_resumes_to_the_weights_it_went_on_to(name: str, tmp_path: Path) -> None:
    shutil.copytree(SAVED / name / "checkpoint-4", tmp_path / "checkpoint-4")
    recipe = str(SAVED / name / "run.yaml")
    options = ["--config", recipe, "--output_dir", str(tmp_path), "--resume_from_checkpoint", "latest"]
    finished = run([sys.executable, SCRIPT, *options])
    assert finished.returncode == 0, finished.stderr
    final = SAVED / name
    weights = next(path for path in final.glob("*model.safetensors"))
    found, wanted = load_file(tmp_path / weights.name), load_file(weights)
    for key, tensor in wanted.items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-2, atol=1e-4)
    if name == "waveform_vae":
        for network in ("trained", "discriminator"):
            kind = "model" if network == "trained" else network
            for key, tensor in load_file(final / f"{network}-8.safetensors").items():
                torch.testing.assert_close(trained_weights(tmp_path, 8, kind)[key], tensor, rtol=1e-2, atol=1e-4)


def test_saved_latents_and_codes_belong_to_their_models() -> None:
    latents = read_record(SAVED / "latents")
    latents.check_weights(weights_fingerprint(load_autoencoder(SAVED / "waveform_vae")), str(SAVED / "latents"))
    codes = CodesRecord.read(SAVED / "codes")
    codes.check_weights(weights_fingerprint(load_autoencoder(SAVED / "waveform_vqvae")), str(SAVED / "codes"))
    for name, columns in (("latents", {"mean", "std", "frames"}), ("codes", {"frames"})):
        rows = datasets.load_dataset(str(SAVED / name), split="train")
        assert len(rows) == 2
        assert columns <= set(rows.column_names)


@torch.no_grad()
def test_a_saved_pipeline_and_a_saved_prior_generate() -> None:
    pipeline = AudioLatentDiffusionPipeline.from_pretrained(SAVED / "pipeline")
    generator = torch.Generator().manual_seed(0)
    audio = pipeline(audio_end_in_s=0.2, num_inference_steps=2, generator=generator).audios
    assert audio.shape[-1] == 1600
    prior = AutoModelForCausalLM.from_pretrained(SAVED / "prior")
    tokens, _ = load_tokens(SAVED / "prior")
    assert prior.config.vocab_size == tokens.vocab_size
    assert prior(input_ids=torch.arange(8)[None]).logits.isfinite().all()
