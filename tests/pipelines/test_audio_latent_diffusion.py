import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    PNDMScheduler,
)
from safetensors.torch import load_file, save_file
from torch import Tensor

from hf_audio_vae import AudioLatentDiffusionPipeline
from tests.hub import mock_hub
from tests.pipelines.latent_parts import (
    CHANNELS,
    FRAMES,
    HOP,
    RATE,
    V_PREDICTION,
    KnowsTheScale,
    KnowsTheSound,
    latent_diffusion,
    transformer,
    v_scheduler,
)

FLOWS = [
    FlowMatchEulerDiscreteScheduler(),
    FlowMatchEulerDiscreteScheduler(shift=3.0),
    FlowMatchHeunDiscreteScheduler(),
]
VS = [
    v_scheduler(),
    DPMSolverMultistepScheduler(**V_PREDICTION),
    DDIMScheduler(**V_PREDICTION | {"clip_sample": False, "beta_schedule": "linear"}),
]
SCHEDULERS = [*((scheduler, True) for scheduler in FLOWS), *((scheduler, False) for scheduler in VS)]
NAMES = ("drum", "voice", "note")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def audio_of(pipeline: AudioLatentDiffusionPipeline, *arguments: Any, **options: Any) -> Tensor:
    defaults = {"num_inference_steps": 4, "generator": seeded(), "audio_end_in_s": 1.0}
    return pipeline(*arguments, **defaults | options).audios


@pytest.mark.parametrize(("scheduler", "flows"), SCHEDULERS, ids=lambda value: type(value).__name__)
def test_a_denoiser_that_knows_the_sound_generates_it(scheduler: Any, flows: bool) -> None:
    denoiser = transformer(KnowsTheSound)
    denoiser.sound, denoiser.flows = noise(1, CHANNELS, FRAMES).double(), flows
    pipeline = latent_diffusion(scheduler, denoiser=denoiser)
    generated = audio_of(pipeline, num_inference_steps=20, output_type="latent", audio_end_in_s=2.0)
    torch.testing.assert_close(generated, denoiser.sound.float(), rtol=0, atol=1e-3)
    audio = audio_of(pipeline, num_inference_steps=20, audio_end_in_s=2.0)
    with torch.no_grad():
        expected = pipeline.vae.decode(pipeline.vae.denormalize_latents(generated)).sample
    torch.testing.assert_close(audio, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scheduler", "flows"), SCHEDULERS, ids=lambda value: type(value).__name__)
def test_a_denoiser_that_knows_the_scale_generates_noise_of_that_scale(scheduler: Any, flows: bool) -> None:
    denoiser = transformer(KnowsTheScale)
    denoiser.flows = flows
    pipeline = latent_diffusion(scheduler, denoiser=denoiser)
    options = {"num_inference_steps": 100, "num_waveforms_per_prompt": 100, "audio_end_in_s": 2.0}
    latents = audio_of(pipeline, **options, output_type="latent")  # 8000 numbers: their std is off by 0.8 % or so
    assert abs(latents.std() - 1) < 0.04
    assert abs(latents.mean()) < 0.05


@pytest.mark.parametrize(("scheduler", "flows"), SCHEDULERS, ids=lambda value: type(value).__name__)
def test_a_denoiser_that_knows_the_sound_leads_to_it_from_another_at_any_strength(scheduler: Any, flows: bool) -> None:
    denoiser = transformer(KnowsTheSound)
    denoiser.sound, denoiser.flows = noise(1, CHANNELS, FRAMES).double(), flows
    pipeline = latent_diffusion(scheduler, denoiser=denoiser)
    options = {"init_audio": 0.3 * noise(1, 2 * RATE), "num_inference_steps": 20, "audio_end_in_s": None}
    for strength in (0.05, 0.5):
        made = audio_of(pipeline, **options, strength=strength, output_type="latent")
        torch.testing.assert_close(made, denoiser.sound.float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(), v_scheduler()])
def test_strength_is_how_far_a_sound_is_changed(scheduler: Any) -> None:
    pipeline = latent_diffusion(scheduler)
    init = 0.3 * noise(1, 2 * RATE)
    with torch.no_grad():
        whole = pipeline.vae.normalize_latents(pipeline.vae.encode(init[None]).latent_dist.mode())
    options = {"init_audio": init, "num_inference_steps": 20, "output_type": "latent", "audio_end_in_s": None}
    changes = [(audio_of(pipeline, **options, strength=s) - whole).std() for s in (0.05, 0.3, 0.6, 1.0)]
    assert changes == sorted(changes)
    assert changes[0] < 0.4 * changes[-1]
    fresh = audio_of(pipeline, num_inference_steps=20, output_type="latent", audio_end_in_s=2.0)
    torch.testing.assert_close(audio_of(pipeline, **options, strength=1.0), fresh, rtol=0, atol=1e-4)


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(), v_scheduler()])
def test_what_no_mask_touches_stays_and_the_rest_is_new(scheduler: Any) -> None:
    pipeline = latent_diffusion(scheduler)
    init = 0.3 * noise(1, 2 * RATE)
    with torch.no_grad():
        whole = pipeline.vae.normalize_latents(pipeline.vae.encode(init[None]).latent_dist.mode())
    ranges = [(0.5, 0.72), (1.5, 2.0)]  # at 20 Hz: frames 10 to 14, the last of them in part, and 30 to the end
    options = {"init_audio": init, "output_type": "latent", "audio_end_in_s": None}
    made = audio_of(pipeline, **options, mask=ranges)
    new = torch.zeros(FRAMES, dtype=torch.bool)
    new[10:15] = new[30:] = True
    assert torch.equal(made[..., ~new], whole[..., ~new])
    assert ((made - whole)[..., new].abs() > 1e-3).all()
    single = audio_of(pipeline, **options, mask=(0.5, 0.72))
    assert torch.equal(single[..., 30:], whole[..., 30:])


def test_a_sound_is_continued_by_a_mask_beyond_its_end() -> None:
    pipeline = latent_diffusion()
    init = 0.3 * noise(1, RATE)
    longer = audio_of(pipeline, init_audio=init, mask=(1.0, 2.0), audio_end_in_s=2.0, output_type="latent")
    with torch.no_grad():
        padded = torch.nn.functional.pad(init, (0, RATE))[None]
        kept = pipeline.vae.normalize_latents(pipeline.vae.encode(padded).latent_dist.mode())
    assert longer.shape[-1] == FRAMES
    assert torch.equal(longer[..., :20], kept[..., :20])


def test_guidance_goes_along_the_line_from_without_to_with() -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    options = {"num_inference_steps": 1, "output_type": "latent"}  # one step is linear in what is told
    without, within, beyond = (
        audio_of(pipeline, class_labels="voice", guidance_scale=scale, **options) for scale in (0.0, 1.0, 3.0)
    )
    torch.testing.assert_close(beyond, without + 3 * (within - without), rtol=0, atol=1e-4)
    torch.testing.assert_close(without, audio_of(pipeline, **options), rtol=0, atol=1e-5)
    assert (within - without).abs().max() > 1e-2


def test_classes_by_name_and_by_number_are_the_same_and_differ_from_each_other() -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    by_name = audio_of(pipeline, class_labels=["drum", "note"], generator=[seeded(), seeded()])
    assert torch.equal(by_name, audio_of(pipeline, class_labels=[0, 2], generator=[seeded(), seeded()]))
    assert (by_name[0] - by_name[1]).abs().max() > 1e-4


@pytest.mark.parametrize("label", [np.int64(1), np.array([1]), torch.tensor([1]), np.str_("voice"), ("voice",)])
def test_numbers_and_arrays_of_numpy_are_taken(label: Any) -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    init = 0.3 * noise(1, 2 * RATE)
    options = {"audio_end_in_s": 1.0, "num_inference_steps": 4, "init_audio": init}
    alike = {
        "audio_end_in_s": np.float32(1.0),
        "num_inference_steps": np.int64(4),
        "init_audio": init.double().numpy(),
        "num_waveforms_per_prompt": np.int32(1),
        "guidance_scale": np.float64(4.0),
    }
    assert torch.equal(audio_of(pipeline, class_labels=label, **alike), audio_of(pipeline, class_labels=1, **options))


@pytest.mark.parametrize(
    ("strength", "steps", "expected"),
    [(0.55, 100, 55), (0.07, 100, 7), (0.551, 100, 56), (0.7, 10, 7), (0.001, 10, 1), (1.0, 7, 7), (0.29, 100, 29)],
)
def test_strength_is_the_share_of_the_steps_rounded_up(strength: float, steps: int, expected: int) -> None:
    seen = []
    count = {"callback_on_step_end": lambda pipe, step, timestep, tensors: seen.append(step) or {}}
    init = torch.zeros(1, RATE)
    audio_of(latent_diffusion(), init_audio=init, strength=strength, num_inference_steps=steps, **count)
    assert len(seen) == expected


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


def test_waveforms_of_a_class_follow_each_other() -> None:
    pipeline = latent_diffusion(class_names=NAMES)
    same_noise = [seeded(number) for number in (0, 0, 0, 0)]
    audio = audio_of(pipeline, class_labels=["drum", "note"], num_waveforms_per_prompt=2, generator=same_noise)
    assert torch.equal(audio[0], audio[1]) and torch.equal(audio[2], audio[3])
    assert (audio[0] - audio[2]).abs().max() > 1e-4


def test_variations_of_a_sound_follow_each_other() -> None:
    pipeline = latent_diffusion()
    sounds = 0.3 * noise(2, 1, RATE)
    made = audio_of(
        pipeline,
        init_audio=sounds,
        strength=0.01,
        num_inference_steps=1000,
        num_waveforms_per_prompt=2,
        output_type="latent",
    )
    with torch.no_grad():
        given = pipeline.vae.normalize_latents(pipeline.vae.encode(sounds).latent_dist.mode())
    distances = (made[:, None] - given[None]).square().sum(dim=(2, 3))  # (waveforms, sounds)
    assert distances.argmin(dim=1).tolist() == [0, 0, 1, 1]


def test_the_default_strength_changes_a_sound_in_part_and_a_mask_fully() -> None:
    pipeline = latent_diffusion()
    sound = {"init_audio": 0.3 * noise(1, RATE), "num_inference_steps": 10}
    assert torch.equal(audio_of(pipeline, **sound), audio_of(pipeline, **sound, strength=0.7))
    inpainted = audio_of(pipeline, **sound, mask=(0.2, 0.5))
    assert torch.equal(inpainted, audio_of(pipeline, **sound, mask=(0.2, 0.5), strength=1.0))
    assert not torch.equal(inpainted, audio_of(pipeline, **sound, mask=(0.2, 0.5), strength=0.7))


def test_texts_are_heard_whatever_else_is_in_the_batch() -> None:
    pipeline = latent_diffusion(text=True)
    prompts = ["a drum", "drum drum drum a drum a"]
    both = audio_of(pipeline, prompts, generator=[seeded(1), seeded(2)])
    alone = audio_of(pipeline, prompts[0], generator=[seeded(1)])
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-5)
    assert (audio_of(pipeline, "drum", generator=[seeded(1)]) - alone).abs().max() > 1e-4


def test_a_text_and_a_class_go_together() -> None:
    pipeline = latent_diffusion(class_names=NAMES, text=True)
    audio = audio_of(pipeline, "a drum", "drum")
    assert (audio - audio_of(pipeline, "a drum", "note")).abs().max() > 1e-4
    assert (audio - audio_of(pipeline, "drum", "drum")).abs().max() > 1e-4


@pytest.mark.parametrize("seconds", [1 / RATE, 0.5, 0.51, 1.99, 2.0])
def test_the_sound_is_as_long_as_asked_for(seconds: float) -> None:
    assert audio_of(latent_diffusion(), audio_end_in_s=seconds).shape == (1, 1, round(seconds * RATE))


def test_left_to_itself_it_is_as_long_as_it_can_be_or_as_the_sound_it_starts_from() -> None:
    pipeline = latent_diffusion()
    assert pipeline.max_seconds == FRAMES * HOP / RATE == 2.0
    assert audio_of(pipeline, audio_end_in_s=None).shape[-1] == 2 * RATE
    assert audio_of(pipeline, audio_end_in_s=None, init_audio=noise(1, 77)).shape[-1] == 77


def test_a_seed_is_a_sound_and_noise_can_be_given() -> None:
    pipeline = latent_diffusion()
    audio = audio_of(pipeline, generator=seeded(3))
    assert torch.equal(audio, audio_of(pipeline, generator=seeded(3)))
    assert not torch.equal(audio, audio_of(pipeline, generator=seeded(4)))
    given = noise(1, CHANNELS, 20, seed=3)
    assert torch.equal(audio, audio_of(pipeline, latents=given))
    several = audio_of(pipeline, num_waveforms_per_prompt=2, generator=[seeded(4), seeded(3)])
    torch.testing.assert_close(several[1:], audio, rtol=0, atol=1e-5)


def test_a_seed_is_a_sound_by_schedulers_that_add_noise_on_the_way() -> None:
    for scheduler in (
        FlowMatchEulerDiscreteScheduler(stochastic_sampling=True),
        DPMSolverMultistepScheduler(**V_PREDICTION, algorithm_type="sde-dpmsolver++"),
    ):
        pipeline = latent_diffusion(scheduler)
        assert torch.equal(audio_of(pipeline), audio_of(pipeline))


def test_a_duration_is_told_in_whole_frames_as_in_training() -> None:
    pipeline = latent_diffusion()
    told = []
    pipeline.conditioner.register_forward_pre_hook(lambda module, arguments: told.append(arguments[0].item()))
    audio_of(pipeline, audio_end_in_s=0.51)
    assert told == pytest.approx([11 * HOP / RATE])


def test_outputs_are_tensors_arrays_or_latents() -> None:
    pipeline = latent_diffusion()
    audio = audio_of(pipeline)
    array = audio_of(pipeline, output_type="np")
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, audio.numpy())
    (latents,) = pipeline(
        audio_end_in_s=1.0, num_inference_steps=4, generator=seeded(), output_type="latent", return_dict=False
    )
    assert latents.shape == (1, CHANNELS, 20)


def test_the_callback_sees_each_step_and_can_change_it() -> None:
    pipeline = latent_diffusion()
    seen = []

    def silence(pipe: Any, step: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append((step, float(timestep), tensors["latents"].shape))
        return {"latents": torch.zeros_like(tensors["latents"])} if step == 3 else {}

    latents = audio_of(pipeline, callback_on_step_end=silence, output_type="latent")
    assert [step for step, _, _ in seen] == [0, 1, 2, 3]
    assert [timestep for _, timestep, _ in seen] == sorted((timestep for _, timestep, _ in seen), reverse=True)
    assert not latents.any()


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
