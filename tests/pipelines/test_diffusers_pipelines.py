"""A model of ours takes the place of `vae` in diffusers' own pipelines."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import (
    AceStepPipeline,
    AutoencoderOobleck,
    DiffusionPipeline,
    StableAudio3AudioToAudioPipeline,
    StableAudio3InpaintPipeline,
    StableAudioPipeline,
)
from torch import Tensor

from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck
from tests.hub import mock_hub
from tests.models.contract import assert_equal_within_rounding
from tests.pipelines.parts import (
    FRAMES,
    LATENT_CHANNELS,
    RATE,
    ace_step,
    causal_vae,
    negate_left,
    oobleck_vae,
    sound,
    spectrogram_vae,
    stable_audio,
    stable_audio_3,
    stft_vae,
)
from tests.pipelines.reader import generate, load, read_elsewhere

SECONDS = 0.64  # a whole number of frames for one vae, not for the other
FROM_SOUND = {"initial_audio_waveforms": sound(SECONDS), "initial_audio_sampling_rate": RATE}
audio_to_audio_3 = partial(stable_audio_3, pipeline_class=StableAudio3AudioToAudioPipeline)
inpaint_3 = partial(stable_audio_3, pipeline_class=StableAudio3InpaintPipeline)
INPAINT = {"duration": SECONDS, "mask_start_seconds": 0.2, "mask_end_seconds": 0.4}
REPAINT = {"audio_duration": SECONDS, "task_type": "repaint", "repainting_start": 0.2, "repainting_end": 0.4}
CALLS = {
    "stable-audio": (stable_audio, {"audio_end_in_s": SECONDS}),
    "stable-audio-from-sound": (stable_audio, {"audio_end_in_s": SECONDS, **FROM_SOUND}),
    "stable-audio-3": (stable_audio_3, {"duration": SECONDS}),
    "stable-audio-3-from-sound": (audio_to_audio_3, {"duration": SECONDS, "audio": sound(SECONDS)}),
    "stable-audio-3-inpaint": (inpaint_3, {**INPAINT, "audio": sound(SECONDS)}),
    "ace-step": (ace_step, {"audio_duration": SECONDS}),
    "ace-step-repaint": (ace_step, {**REPAINT, "src_audio": sound(SECONDS)[0]}),
    "ace-step-timbre": (ace_step, {"audio_duration": SECONDS, "reference_audio": sound(SECONDS)[0]}),
}
every_call = pytest.mark.parametrize(("build", "arguments"), CALLS.values(), ids=CALLS)
every_vae = pytest.mark.parametrize("make_vae", [oobleck_vae, causal_vae, stft_vae])


@pytest.fixture(autouse=True)
def seeded_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@every_vae
@every_call
def test_audio_is_what_the_vae_decodes_as_long_as_asked(build, arguments, make_vae):
    pipeline = build(make_vae())
    audio = generate(pipeline, **arguments)
    samples, hop = round(SECONDS * RATE), pipeline.vae.hop_length
    if isinstance(pipeline, AceStepPipeline):
        samples = -(-samples // hop) * hop  # it does not cut the last frame
    assert audio.shape == (1, 2, samples)
    assert audio.isfinite().all()
    negate_left(pipeline.vae)
    left, right = generate(pipeline, **arguments).unbind(dim=1)
    assert torch.equal(left, -audio[:, 0])
    assert torch.equal(right, audio[:, 1])


@pytest.mark.parametrize("name", ["stable-audio", "stable-audio-from-sound", "ace-step", "ace-step-repaint"])
def test_audio_is_the_one_of_the_oobleck_with_the_same_weights(name):
    build, arguments = CALLS[name]
    pipeline = build(oobleck_vae())
    audio = generate(pipeline, **arguments)
    pipeline.register_modules(vae=to_oobleck(pipeline.vae))
    assert_equal_within_rounding(audio, generate(pipeline, **arguments))


@torch.no_grad()
def test_a_published_pipeline_runs_with_its_tuned_vae(tmp_path: Path):
    pipeline = stable_audio(to_oobleck(oobleck_vae()))
    before = generate(pipeline)
    pipeline.save_pretrained(tmp_path / "published")
    tuned = load_autoencoder(tmp_path / "published", subfolder="vae")
    for parameter in tuned.decoder.parameters():
        parameter.mul_(1.1)
    tuned.save_published(tmp_path / "tuned")
    vae = AutoencoderOobleck.from_pretrained(tmp_path / "tuned")
    again = StableAudioPipeline.from_pretrained(tmp_path / "published", vae=vae)
    audio = generate(again)
    again.register_modules(vae=tuned)
    assert_equal_within_rounding(audio, generate(again))
    assert (audio - before).abs().max() > 1e-3 * before.abs().max()


@torch.no_grad()
@pytest.mark.parametrize("make_vae", [oobleck_vae, causal_vae, stft_vae, spectrogram_vae])
def test_stable_audio_starts_from_the_latents_of_a_sound(make_vae):
    pipeline = stable_audio(make_vae())
    x = sound(FRAMES * pipeline.vae.hop_length / RATE)
    audio = generate(pipeline, initial_audio_waveforms=x, initial_audio_sampling_rate=RATE)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, LATENT_CHANNELS, FRAMES, generator=generator)
    latents = pipeline.vae.encode(x).latent_dist.sample(generator)
    assert_equal_within_rounding(
        audio, generate(pipeline, latents=noise + latents / pipeline.scheduler.init_noise_sigma)
    )
    assert (audio - generate(pipeline)).abs().max() > 1e-3 * audio.abs().max()


@torch.no_grad()
@every_vae
def test_stable_audio_3_stays_with_a_sound_that_gets_little_noise(make_vae):
    pipeline = audio_to_audio_3(make_vae())
    x, noise_level = sound(SECONDS), 1e-4
    options = {"init_noise_level": noise_level, "num_inference_steps": 1, "output_type": "latent"}
    latents = generate(pipeline, audio=x, duration=SECONDS, **options)
    encoded = pipeline.vae.encode(x).latent_dist.mode()
    assert encoded.abs().max() > 0.1
    assert (latents - encoded).abs().max() < 20 * noise_level  # noise, velocity and latents are some units each


@pytest.mark.parametrize(
    ("build", "arguments", "audio", "view"),
    [
        (inpaint_3, {"duration": 1.2, "mask_start_seconds": 0.5, "mask_end_seconds": 1.2}, "audio", slice(None)),
        (ace_step, {"audio_duration": 1.2, "task_type": "repaint", "repainting_start": 0.5}, "src_audio", 0),
    ],
    ids=["stable-audio-3", "ace-step"],
)
def test_with_a_causal_vae_the_end_is_replaced_unheard(build, arguments, audio, view):
    pipeline = build(causal_vae())
    x = sound(1.2)
    result = generate(pipeline, **arguments, **{audio: x[view]})
    for place, heard in ((RATE // 2, False), (RATE // 2 - 1, True)):
        other = x.clone()
        other[..., place] += 0.5
        assert torch.equal(generate(pipeline, **arguments, **{audio: other[view]}), result) != heard


@every_vae
def test_generating_in_tiles_changes_nothing_but_rounding(make_vae):
    pipeline = stable_audio(make_vae())
    arguments = CALLS["stable-audio-from-sound"][1]
    audio = generate(pipeline, **arguments)
    tiles: list[Tensor] = []
    pipeline.vae.decoder.register_forward_hook(lambda module, inputs, output: tiles.append(output))
    pipeline.vae.enable_tiling(2)
    assert_equal_within_rounding(generate(pipeline, **arguments), audio)
    start = 1000 * pipeline.vae.hop_length
    first, last = pipeline.vae.decoder.input_span(start, start + 2 * pipeline.vae.hop_length)
    assert len(tiles) == (FRAMES / 2 if last - first < FRAMES else 1)  # what one window holds is decoded at once


@pytest.mark.parametrize("make_vae", [causal_vae, stft_vae, spectrogram_vae])
@every_call
def test_a_saved_pipeline_gives_the_same_audio(build, arguments, make_vae, tmp_path: Path):
    pipeline = build(make_vae())
    audio = generate(pipeline, **arguments)
    pipeline.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["hf_audio_vae", type(pipeline.vae).__name__]
    for pipeline_class in (type(pipeline), DiffusionPipeline):
        loaded = load(tmp_path, pipeline_class)
        assert type(loaded) is type(pipeline)
        assert type(loaded.vae) is type(pipeline.vae)
        assert torch.equal(generate(loaded, **arguments), audio)


@pytest.mark.parametrize("saved", [causal_vae, lambda: to_oobleck(oobleck_vae())], ids=["ours", "oobleck"])
def test_a_vae_that_is_passed_takes_the_place_of_the_saved_one(saved: Callable, tmp_path: Path):
    pipeline, vae = stable_audio(saved()), causal_vae()
    pipeline.save_pretrained(tmp_path)
    (tmp_path / "vae/diffusion_pytorch_model.safetensors").unlink()
    loaded = load(tmp_path, type(pipeline), vae=vae)
    assert loaded.vae is vae
    pipeline.register_modules(vae=vae)
    assert torch.equal(generate(loaded), generate(pipeline))


@pytest.mark.slow
def test_a_pipeline_on_the_hub_gives_the_same_audio(tmp_path: Path):
    pipeline = stable_audio(causal_vae())
    arguments = CALLS["stable-audio-from-sound"][1]
    pipeline.save_pretrained(tmp_path / "pipeline")
    with mock_hub() as hub:
        hub.add("someone/pipeline", tmp_path / "pipeline")
        environment = hub.environment(tmp_path / "home")
        reader = read_elsewhere("someone/pipeline", tmp_path, arguments, with_package=True, hub=environment)
    assert reader.returncode == 0, reader.stderr
    assert torch.equal(torch.load(tmp_path / "audio.pt"), generate(pipeline, **arguments))
