"""Sounds that an `AudioLatentDiffusionPipeline` generates."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
)
from torch import Tensor

from tests.pipelines.latent_parts import (
    CHANNELS,
    FRAMES,
    HOP,
    NAMES,
    RATE,
    V_PREDICTION,
    KnowsTheScale,
    KnowsTheSound,
    audio_of,
    latent_diffusion,
    noise,
    seeded,
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


def test_a_blank_prompt_is_no_text_also_in_a_batch() -> None:
    pipeline = latent_diffusion(text=True)
    nothing, blank = (audio_of(pipeline, prompt) for prompt in (None, " "))
    torch.testing.assert_close(blank, nothing, rtol=0, atol=1e-6)
    both = audio_of(pipeline, ["a drum", ""], generator=[seeded(1), seeded()])
    torch.testing.assert_close(both[1:], nothing, rtol=0, atol=1e-6)
    assert (both[1:] - audio_of(pipeline, "a drum")).abs().max() > 1e-3


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


def test_an_autoencoder_without_statistics_is_refused_before_the_first_step() -> None:
    pipeline = latent_diffusion()
    pipeline.vae.register_to_config(latents_mean=None, latents_std=None)
    with pytest.raises(ValueError, match="no statistics of its latents.*register_to_config"):
        audio_of(pipeline, callback_on_step_end=lambda *_: pytest.fail("a step was taken"))
