"""Tiny latent diffusion with random weights, and denoisers that know the answer."""

import math
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin, StableAudioDiTModel
from torch import Tensor
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from hf_audio_vae import AudioLatentDiffusionPipeline, LatentConditioner, WaveformVAE
from tests.pipelines.parts import WIDTH, WORDS, with_random_parameters

CHANNELS, FRAMES, RATE, HOP = 2, 40, 120, 6
NAMES = ("drum", "voice", "note")
V_PREDICTION = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
}


def vae() -> WaveformVAE:
    model = WaveformVAE(4, (2, 3), (1, 2), 4, CHANNELS, 1, RATE, latents_mean=(0.5, -0.25), latents_std=(0.5, 2.0))
    return with_random_parameters(model)


def transformer(kind: type = StableAudioDiTModel, *, frames: int = FRAMES) -> StableAudioDiTModel:
    model = kind(
        sample_size=frames,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        cross_attention_dim=WIDTH,
        cross_attention_input_dim=WIDTH,
        time_proj_dim=8,
        global_states_input_dim=WIDTH,
    )
    return with_random_parameters(model)


def latent_diffusion(
    scheduler: SchedulerMixin | None = None,
    *,
    class_names: tuple[str, ...] = (),
    text: bool = False,
    denoiser: StableAudioDiTModel | None = None,
    autoencoder: WaveformVAE | None = None,
) -> AudioLatentDiffusionPipeline:
    """A pipeline of any conditioning; without progress bars."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_config = T5Config(vocab_size=len(WORDS), d_model=12, d_kv=4, d_ff=WIDTH, num_layers=1, num_heads=2)
        pieces = ["▁" + word if word.isalpha() else word for word in WORDS]
        pipeline = AudioLatentDiffusionPipeline(
            autoencoder or vae(),
            denoiser or transformer(),
            scheduler or FlowMatchEulerDiscreteScheduler(),
            with_random_parameters(LatentConditioner(WIDTH, class_names, 12 if text else None)),
            with_random_parameters(T5EncoderModel(text_config)) if text else None,
            T5Tokenizer([(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0) if text else None,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class KnowsTheSound(StableAudioDiTModel):
    """Tells what leads straight to one sound, by flow or by v."""

    sound: Tensor  # (batch, latent_channels, frames)
    flows: bool

    def forward(self, hidden_states: Tensor, timestep: Tensor, **others: object) -> tuple[Tensor]:
        time = timestep.double()[:, None, None]
        noisy = hidden_states.double()
        if self.flows:
            told = (noisy - self.sound) / time
        else:
            angle = time * (math.pi / 2)
            noise = (noisy - angle.cos() * self.sound) / angle.sin()
            told = angle.cos() * noise - angle.sin() * self.sound
        return (told.to(hidden_states),)


class KnowsTheScale(StableAudioDiTModel):
    """Tells the best guess for latents that are standard noise."""

    flows: bool

    def forward(self, hidden_states: Tensor, timestep: Tensor, **others: object) -> tuple[Tensor]:
        t = timestep[:, None, None]
        return ((2 * t - 1) / ((1 - t) ** 2 + t**2) * hidden_states if self.flows else 0 * hidden_states,)


def v_scheduler() -> DDIMScheduler:
    return DDIMScheduler(**V_PREDICTION, clip_sample=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def audio_of(pipeline: AudioLatentDiffusionPipeline, *arguments: Any, **options: Any) -> Tensor:
    defaults = {"num_inference_steps": 4, "generator": seeded(), "audio_end_in_s": 1.0}
    return pipeline(*arguments, **defaults | options).audios
