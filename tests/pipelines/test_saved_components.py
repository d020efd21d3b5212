"""Values of a saved pipeline that no shape depends on are those that it was saved with."""

import json
from pathlib import Path

import pytest
import torch

from hf_audio_vae import AudioLatentDiffusionPipeline
from tests.pipelines.latent_parts import latent_diffusion


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_edited_statistics_of_the_latents_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    latent_diffusion().save_pretrained(tmp_path)
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
    statistics = json.loads((tmp_path / "vae/config.json").read_text())["latents_std"]
    edit(tmp_path / "vae/config.json", latents_std=[2 * value for value in statistics])
    with pytest.raises(ValueError, match="the `vae` has other latent statistics than .* trained with; use that one"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
    weights = json.loads((tmp_path / "model_index.json").read_text())["vae_weights"]
    edit(tmp_path / "model_index.json", vae_weights=weights.rpartition("-")[0])
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path)  # an earlier version did not record the statistics


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        ("transformer", {"num_attention_heads": 4, "num_key_value_attention_heads": 2, "attention_head_dim": 4}),
        ("conditioner", {"class_names": ["voice", "drum"]}),
        ("text_encoder", {"layer_norm_epsilon": 0.1}),
        ("scheduler", {"shift": 5.0}),
    ],
)
def test_edited_configurations_that_keep_all_shapes_are_refused(
    component: str, changes: dict[str, object], tmp_path: Path
) -> None:
    pipeline = latent_diffusion(class_names=("drum", "voice"), text=True)
    pipeline.save_pretrained(tmp_path / "saved")
    again = AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "saved", torch_dtype=torch.bfloat16)
    again.save_pretrained(tmp_path / "again")
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "again")
    name = "scheduler_config.json" if component == "scheduler" else "config.json"
    config = tmp_path / "again" / component / name
    before = json.loads(config.read_text())
    assert any(before[name] != value for name, value in changes.items())
    edit(config, **changes)
    with pytest.raises(ValueError, match=rf"{component}/{name} has other values than when the pipeline was saved"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "again")
    index = tmp_path / "again/model_index.json"
    index.write_text(json.dumps({k: v for k, v in json.loads(index.read_text()).items() if k != "component_configs"}))
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "again")  # an earlier version had no such record
