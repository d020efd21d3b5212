"""A mel model of ours takes the place of the spectrogram autoencoder in diffusers' pipelines."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import (
    AudioLDM2Pipeline,
    AudioLDM2UNet2DConditionModel,
    DDIMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
)
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
)

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.models.spectrogram_vae.neural_vocoders import hifi_gan_vocoder
from tests.models.probes import assert_equal_within_rounding
from tests.pipelines.parts import WORDS, with_random_parameters

RATE, HOP, BINS, WIDTH = 400, 4, 8, 8
UPSAMPLING = {"upsample_rates": [2, 2], "upsample_kernel_sizes": [4, 4], "upsample_initial_channel": 8}
SECONDS = 0.3  # 30 frames: not a whole number of latent frames
REQUESTED = round(SECONDS * RATE)


@pytest.fixture(autouse=True)
def seeded_weights() -> None:
    torch.manual_seed(0)


def mel_vae(audio_channels: int = 1, **changes: object) -> SpectrogramVAE:
    sizes = {"downsampling_ratios": (HOP, 2, 2), "bin_ratios": (1, 2, 2), "block_out_channels": (4, 4, 8)}
    settings = {"layers_per_block": 1, "latent_channels": 4, "sampling_rate": RATE, "window_length": 32}
    model = SpectrogramVAE("mel", **sizes, **settings, mel_bins=BINS, audio_channels=audio_channels, **changes)
    return with_random_parameters(model)


def audioldm2() -> AudioLDM2Pipeline:
    unet = AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(WIDTH, WIDTH),
    )
    text_config = T5Config(vocab_size=len(WORDS), d_model=WIDTH, d_kv=4, d_ff=WIDTH, num_layers=1, num_heads=2)
    language_config = GPT2Config(vocab_size=5, n_positions=8, n_embd=WIDTH, n_layer=1, n_head=2)
    vocoder_config = SpeechT5HifiGanConfig(model_in_dim=BINS, sampling_rate=RATE, **UPSAMPLING)
    pipeline = AudioLDM2Pipeline(
        vae=mel_vae(latents_mean=(0.5,) * 8, latents_std=(2.0,) * 8),
        text_encoder=None,
        text_encoder_2=T5EncoderModel(text_config).eval(),
        projection_model=None,
        language_model=GPT2LMHeadModel(language_config).eval(),
        tokenizer=None,
        tokenizer_2=None,
        feature_extractor=None,
        unet=with_random_parameters(unet),
        scheduler=DDIMScheduler(clip_sample=False),
        vocoder=with_random_parameters(SpeechT5HifiGan(vocoder_config)),
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(pipeline: AudioLDM2Pipeline, output_type: str = "pt") -> Tensor:
    embeds = torch.linspace(-1, 1, 3 * WIDTH).view(1, 3, WIDTH)
    mask = torch.ones(1, 3, dtype=torch.long)
    audio = pipeline(
        audio_length_in_s=SECONDS,
        prompt_embeds=embeds,
        attention_mask=mask,
        generated_prompt_embeds=embeds,
        guidance_scale=1.0,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
        output_type=output_type,
    )
    return audio.audios


def test_audioldm2_decodes_the_waveform_that_the_model_decodes_with_its_vocoder() -> None:
    pipeline = audioldm2()
    assert pipeline.vae_scale_factor == pipeline.vae.temporal_compression_ratio == pipeline.vae.mel_compression_ratio
    audio, latents = generate(pipeline), generate(pipeline, "latent")
    assert audio.shape == (1, REQUESTED)
    assert latents.shape == (1, 4, 8, 2)
    assert pipeline.vae.config.scaling_factor == 0.5  # 1 / 2
    pipeline.vae.set_vocoder(hifi_gan_vocoder(pipeline.vocoder))
    with torch.no_grad():
        decoded = pipeline.vae.decode(2 * latents.transpose(2, 3).flatten(1, 2)).sample
    assert torch.equal(decoded[0, :, :REQUESTED], audio)


def test_audioldm2_gives_the_same_audio_after_it_is_saved(tmp_path: Path) -> None:
    pipeline = audioldm2()
    without = {name: None for name, component in pipeline.components.items() if component is None}
    pipeline.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["vae"] == ["hf_audio_vae", "SpectrogramVAE"]
    for pipeline_class in (AudioLDM2Pipeline, DiffusionPipeline):
        loaded = pipeline_class.from_pretrained(tmp_path, **without)
        loaded.set_progress_bar_config(disable=True)
        assert type(loaded.vae) is SpectrogramVAE
        assert_equal_within_rounding(generate(loaded), generate(pipeline), operations=1000)


@pytest.mark.parametrize("leading_frame", [False, True])
@torch.no_grad()
def test_the_audio_half_of_ltx2_packs_and_decodes_our_latents(leading_frame: bool, tmp_path: Path) -> None:
    statistics = {"latents_mean": tuple(range(8)), "latents_std": (0.5, 1.0, 2.0, 3.0) * 2}
    vae = mel_vae(2, causal=True, leading_frame=leading_frame, **statistics)
    vocoder = LTX2Vocoder(2 * BINS, 8, 2, [4, 4], [2, 2], [3], [[1, 3]], output_sampling_rate=RATE)
    parts = dict.fromkeys(("vae", "text_encoder", "tokenizer", "connectors", "transformer"))
    pipeline = LTX2Pipeline(FlowMatchEulerDiscreteScheduler(), audio_vae=vae, vocoder=vocoder.eval(), **parts)
    pipeline.save_pretrained(tmp_path)
    pipeline = LTX2Pipeline.from_pretrained(tmp_path, **parts)
    ours = pipeline.audio_vae
    assert type(ours) is SpectrogramVAE
    assert (pipeline.audio_sampling_rate, pipeline.audio_hop_length) == (RATE, HOP)
    assert pipeline.audio_vae_temporal_compression_ratio == pipeline.audio_vae_mel_compression_ratio == 4
    x = 0.3 * torch.randn(1, 2, 5 * ours.hop_length)
    spatial = ours.encode(ours.spectrogram(x)).latent_dist.mean
    options = {"num_channels_latents": ours.config.latent_channels, "audio_latent_length": 5}
    noise = pipeline.prepare_audio_latents(num_mel_bins=ours.config.mel_bins, dtype=torch.float32, **options)
    packed = pipeline._pack_audio_latents(spatial)
    assert packed.shape == noise.shape
    normal = pipeline._normalize_audio_latents(packed, ours.latents_mean, ours.latents_std)
    torch.testing.assert_close(normal.mT, ours.normalize_latents(ours.encode(x).latent_dist.mean))
    latents = pipeline._denormalize_audio_latents(normal, ours.latents_mean, ours.latents_std)
    latents = pipeline._unpack_audio_latents(latents, 5, num_mel_bins=BINS // 4)
    torch.testing.assert_close(latents, spatial)
    mel = ours.decode(spatial, return_dict=False)[0]
    assert pipeline.vocoder(mel).shape == (1, 2, mel.shape[2] * HOP)
