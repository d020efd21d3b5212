"""What an `AudioLatentDiffusionPipeline` refuses: components, weights, conditions and options."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from safetensors.torch import load_file, save_file

from hf_audio_vae import AudioLatentDiffusionPipeline
from tests.pipelines.latent_parts import (
    CHANNELS,
    NAMES,
    RATE,
    audio_of,
    latent_diffusion,
    seeded,
)


@pytest.mark.parametrize("component", ["transformer", "text_encoder"])
def test_a_component_without_exactly_its_weights_is_refused(component: str, tmp_path: Path) -> None:
    latent_diffusion(text=True).save_pretrained(tmp_path)
    (file,) = (tmp_path / component).glob("*.safetensors")
    weights = load_file(file)
    key = min(weights)
    for changed, message in (
        ({other: weights[other] for other in weights.keys() - {key}}, f"1 missing: {key}"),
        (weights | {"other": torch.zeros(1)}, "1 unknown: other"),
        (weights | {key: torch.zeros(77)}, f"1 different: {key}"),
    ):
        save_file(changed, file, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=f"the weights in .*{component} .*{message}"):
            AudioLatentDiffusionPipeline.from_pretrained(tmp_path)
    given = {component: getattr(latent_diffusion(text=True), component)}
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path, **given)  # the files are not read


@pytest.mark.parametrize("component", ["transformer", "conditioner", "text_encoder"])
def test_a_weight_that_is_not_finite_is_named(component: str) -> None:
    pipeline = latent_diffusion(text=True)
    name, weight = next(iter(getattr(pipeline, component).named_parameters()))
    weight.data.fill_(torch.nan)
    for output_type in ("pt", "latent"):
        with pytest.raises(ValueError, match=f"the `{component}`: its weight `{name}` has NaN or infinite values"):
            audio_of(pipeline, "a drum", output_type=output_type)


def test_an_autoencoder_of_equal_shape_and_other_weights_is_refused(tmp_path: Path) -> None:
    latent_diffusion().save_pretrained(tmp_path)
    other = latent_diffusion().vae
    other.decoder.conv1.bias.data += 0.1
    with pytest.raises(ValueError, match="the `vae` has other weights than .*; use that one"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path, vae=other)
    pipeline = AudioLatentDiffusionPipeline.from_pretrained(tmp_path, vae=latent_diffusion().vae)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae = other
    for use in (partial(audio_of, pipeline), partial(pipeline.save_pretrained, tmp_path)):
        with pytest.raises(ValueError, match="the `vae` has other weights than"):
            use()
    pipeline.register_to_config(vae_weights=None)
    pipeline.save_pretrained(tmp_path / "fine-tuned")
    assert AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "fine-tuned", vae=other).vae is other
    with pytest.raises(ValueError, match="the `vae` has other weights than"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "fine-tuned", vae=latent_diffusion().vae)


def test_an_autoencoder_with_an_edited_configuration_is_refused(tmp_path: Path) -> None:
    latent_diffusion().save_pretrained(tmp_path)
    config = tmp_path / "vae/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"causal": True}))
    for dtype in (torch.float32, torch.bfloat16):
        with pytest.raises(ValueError, match="the `vae` has other configuration values than"):
            AudioLatentDiffusionPipeline.from_pretrained(tmp_path, torch_dtype=dtype)
    index = tmp_path / "model_index.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"vae_weights": content["vae_weights"].partition("-")[0]}))
    AudioLatentDiffusionPipeline.from_pretrained(tmp_path)  # an earlier version did not record the configuration


WRONG = [
    ({"prompt": "a"}, "trained without texts"),
    ({"class_labels": 0}, "trained without classes"),
    ({"audio_end_in_s": 2.5}, "2.5 s are requested; the model generates at least one sample and at most 2 s"),
    ({"audio_end_in_s": 0.0}, "0 s are requested"),
    ({"num_inference_steps": 0}, "`num_inference_steps` is 0"),
    ({"num_waveforms_per_prompt": 0}, "`num_waveforms_per_prompt` is 0"),
    ({"strength": 0.0, "init_audio": torch.zeros(1, 120)}, "`strength` is 0.0"),
    ({"num_inference_steps": "10"}, "`num_inference_steps` is '10'; it must be 1 or more, and an integer"),
    ({"num_inference_steps": 2.5}, "`num_inference_steps` is 2.5"),
    ({"num_inference_steps": True}, "`num_inference_steps` is True"),
    ({"num_inference_steps": -1}, "`num_inference_steps` is -1"),
    ({"num_waveforms_per_prompt": 1.0}, "`num_waveforms_per_prompt` is 1.0"),
    ({"audio_end_in_s": "1.0"}, "`audio_end_in_s` is '1.0'; it must be a finite number"),
    ({"audio_end_in_s": float("nan")}, "`audio_end_in_s` is nan"),
    ({"audio_end_in_s": 1e9}, "1e[+]09 s are requested; .* at most 2 s"),
    ({"audio_end_in_s": 2.0 + 0.6 / RATE}, "at most 2 s"),
    ({"guidance_scale": float("nan")}, "`guidance_scale` is nan; it must be a finite number"),
    ({"guidance_scale": None}, "`guidance_scale` is None"),
    ({"strength": "0.5", "init_audio": torch.zeros(1, 120)}, "`strength` is '0.5'"),
    ({"strength": 1.01, "init_audio": torch.zeros(1, 120)}, "`strength` is 1.01"),
    ({"mask": ("0", "1"), "init_audio": torch.zeros(1, 120)}, "`mask` is '0'; it must be a finite number"),
    ({"mask": (0.1, 0.2, 0.3), "init_audio": torch.zeros(1, 120)}, r"`mask` is \(0.1, 0.2, 0.3\); give a range"),
    ({"init_audio": [0.0] * 120}, "`init_audio` is a list; give a tensor or an array of floats"),
    ({"init_audio": np.zeros((1, 120), np.int16)}, "`init_audio` is an array of int16"),
    ({"latents": torch.full((1, CHANNELS, 20), torch.nan), "output_type": "latent"}, "the result is NaN or infinite"),
    ({"callback_on_step_end": lambda *_: None}, "returned a NoneType; return a dictionary"),
    (
        {"callback_on_step_end": lambda *_: {"latents": torch.zeros(1, CHANNELS, 7)}},
        r"shape \(1, 2, 7\).*\(1, 2, 20\)",
    ),
    ({"callback_on_step_end": lambda *_: {"latents": None}}, "latents that are a NoneType"),
    ({"output_type": "wav"}, "`output_type` is 'wav'; use one of"),
    ({"mask": (0.1, 0.2)}, "`mask` is given without `init_audio`"),
    ({"mask": (0.3, 0.2), "init_audio": torch.zeros(1, 120)}, r"holds \(0.3, 0.2\)"),
    ({"mask": (0.3, 1.2), "init_audio": torch.zeros(1, 120)}, "within 0 to 1 s"),
    ({"init_audio": torch.zeros(2, 120)}, "has 2 channels, the model 1"),
    ({"init_audio": torch.zeros(120)}, "has shape"),
    ({"init_audio": torch.full((1, 120), torch.nan)}, "120 values that are NaN"),
    (
        {"init_audio": torch.zeros(1, 60)},
        r"has 0.5 s and 1 are requested; add the time after it to `mask`, \(0.5, 1\)",
    ),
    ({"init_audio": torch.zeros(1, 120), "init_audio_sampling_rate": 44100}, "44100 Hz.*120 Hz; resample"),
    ({"generator": [seeded(), seeded()]}, "2 generators for 1 sounds"),
    ({"latents": torch.zeros(1, CHANNELS, 7)}, r"`latents` has shape \(1, 2, 7\).*\(1, 2, 20\)"),
    ({"callback_on_step_end_tensor_inputs": ["prompt_embeds"]}, r"cannot get \['prompt_embeds'\]"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_done_is_refused_with_the_reason(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audio_of(latent_diffusion(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_labels": "piano"}, r"holds 'piano'; the classes are \['drum', 'voice', 'note'\], 0 to 2"),
        ({"class_labels": [0, 3]}, "holds 3"),
        ({"class_labels": []}, "is empty"),
        ({"class_labels": True}, "holds True; the classes are"),
        ({"class_labels": [np.bool_(1)]}, r"holds .*True.*; the classes are"),
        ({"class_labels": 1.0}, "holds 1.0"),
        ({"class_labels": np.float64(1)}, "holds .*1.0"),
        ({"prompt": ["a", None]}, r"`prompt` is \['a', None\]; give a text, or a list of texts"),
        ({"prompt": 5}, "`prompt` is 5"),
        ({"class_labels": [0, 1], "prompt": ["a", "a", "a"]}, "3 prompts and 2 classes"),
        ({"class_labels": [0, 1], "init_audio": torch.zeros(3, 1, 120)}, "holds 3 sounds for 2"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audio_of(latent_diffusion(class_names=NAMES, text=True), **options)


def test_a_number_that_names_another_class_than_it_counts_is_refused() -> None:
    pipeline = latent_diffusion(class_names=("1", "10", "2"))
    options: dict[str, Any] = {"audio_end_in_s": 0.1}
    assert torch.equal(
        audio_of(pipeline, class_labels=0, generator=seeded(), **options),
        audio_of(pipeline, class_labels="1", generator=seeded(), **options),
    )
    message = "holds 1, the index of the class '10' and the name of another one; give names as texts, '1' or '10'"
    with pytest.raises(ValueError, match=message):
        audio_of(pipeline, class_labels=[1], **options)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (DDPMScheduler(), "`prediction_type` 'epsilon'"),
        (EulerDiscreteScheduler(prediction_type="epsilon"), "`prediction_type` 'epsilon'"),
        (EulerDiscreteScheduler(prediction_type="v_prediction"), "EulerDiscreteScheduler has another noise schedule"),
        (PNDMScheduler(prediction_type="v_prediction"), "PNDMScheduler has another noise schedule"),
    ],
)
def test_a_scheduler_that_does_not_fit_is_refused(scheduler: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        audio_of(latent_diffusion(scheduler))
