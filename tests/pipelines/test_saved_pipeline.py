"""An `AudioLatentDiffusionPipeline` that is saved and loaded, in any precision."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.files import location
from tests.hub import mock_hub
from tests.pipelines.latent_parts import (
    CHANNELS,
    NAMES,
    audio_of,
    latent_diffusion,
    noise,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_pipeline_of_half_precision_is_saved_and_loaded_in_any(dtype: torch.dtype, tmp_path: Path) -> None:
    latent_diffusion().save_pretrained(tmp_path / "whole")
    half = AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "whole", torch_dtype=dtype)
    half.set_progress_bar_config(disable=True)
    assert audio_of(half).isfinite().all()
    half.save_pretrained(tmp_path / "half")
    for loaded_dtype in (torch.float32, dtype):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "half", torch_dtype=loaded_dtype)
    other = latent_diffusion().vae.to(dtype)
    other.decoder.conv1.bias.data += 0.1
    with pytest.raises(ValueError, match="the `vae` has other weights than"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "half", vae=other, torch_dtype=dtype)


@pytest.mark.parametrize("conditioning", ["none", "class", "text", "both"])
def test_loading_gives_back_what_was_saved(conditioning: str, tmp_path: Path) -> None:
    names = NAMES if conditioning in ("class", "both") else ()
    pipeline = latent_diffusion(class_names=names, text=conditioning in ("text", "both"))
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["hf_audio_vae", "WaveformVAE"]
    assert index["conditioner"] == ["hf_audio_vae", "LatentConditioner"]
    loaded = AudioLatentDiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    arguments: dict[str, Any] = {"class_labels": "note"} if names else {}
    arguments |= {"prompt": "a drum"} if conditioning in ("text", "both") else {}
    # Equal weights elsewhere in memory may be multiplied in another order.
    torch.testing.assert_close(audio_of(loaded, **arguments), audio_of(pipeline, **arguments), rtol=0, atol=1e-6)


def test_a_pipeline_of_the_package_has_the_vae_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "PRETRAINED", tmp_path)
    pipeline = latent_diffusion()
    pipeline.save_pretrained(tmp_path / "generator")
    (tmp_path / "generator/vae").rename(tmp_path / location.DEFAULT_MODEL)
    loaded = AudioLatentDiffusionPipeline.from_pretrained("generator")
    loaded.set_progress_bar_config(disable=True)
    torch.testing.assert_close(audio_of(loaded), audio_of(pipeline), rtol=0, atol=1e-6)
    half = AudioLatentDiffusionPipeline.from_pretrained("generator", torch_dtype=torch.float16)
    assert {half.vae.dtype, half.transformer.dtype} == {torch.float16}
    pipeline.vae.decoder.conv1.bias.data += 0.1
    pipeline.vae.save_pretrained(tmp_path / location.DEFAULT_MODEL)
    with pytest.raises(ValueError, match="the `vae` has other weights than"):
        AudioLatentDiffusionPipeline.from_pretrained("generator")


def test_compiled_models_are_those_that_were_compiled(tmp_path: Path) -> None:
    pipeline = latent_diffusion()
    expected = audio_of(pipeline)
    pipeline.vae = torch.compile(pipeline.vae, backend="eager")
    pipeline.transformer = torch.compile(pipeline.transformer, backend="eager")
    torch.testing.assert_close(audio_of(pipeline), expected, rtol=0, atol=1e-6)
    pipeline.save_pretrained(tmp_path)
    loaded = AudioLatentDiffusionPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    torch.testing.assert_close(audio_of(loaded), expected, rtol=0, atol=1e-6)


def test_another_pipeline_takes_over_the_components() -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    other = AudioLatentDiffusionPipeline.from_pipe(pipeline)
    assert all(component is pipeline.components[name] for name, component in other.components.items())


READER = """
import sys, torch
from hf_audio_vae import AudioLatentDiffusionPipeline

pipeline = AudioLatentDiffusionPipeline.from_pretrained("someone/generator")
generator = torch.Generator().manual_seed(0)
audio = pipeline("a drum", "note", audio_end_in_s=1.0, num_inference_steps=4, generator=generator)
torch.save(audio.audios, sys.argv[1])
"""


@pytest.mark.slow
def test_a_pipeline_on_the_hub_gives_the_same_audio(tmp_path: Path) -> None:
    pipeline = latent_diffusion(class_names=NAMES, text=True)
    pipeline.save_pretrained(tmp_path / "generator")
    with mock_hub() as hub:
        hub.add("someone/generator", tmp_path / "generator")
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | hub.environment(tmp_path / "home")
        command = [sys.executable, "-c", READER, str(tmp_path / "audio.pt")]
        reader = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert reader.returncode == 0, reader.stderr
    audio = audio_of(pipeline, "a drum", "note")
    torch.testing.assert_close(torch.load(tmp_path / "audio.pt"), audio, rtol=0, atol=1e-6)


def test_half_precision_stays_near(tmp_path: Path) -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    pipeline.save_pretrained(tmp_path)
    half = AudioLatentDiffusionPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    options = {"class_labels": "drum", "latents": noise(1, CHANNELS, 20), "guidance_scale": 1.0}
    exact, near = audio_of(pipeline, **options), audio_of(half, **options)
    assert near.dtype == torch.bfloat16
    assert (near.float() - exact).abs().max() < 0.1 * exact.abs().max()
