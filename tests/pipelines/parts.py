"""Tiny pipelines of diffusers with random weights around a vae of ours; nothing is downloaded."""

import torch
from diffusers import (
    AceStepPipeline,
    AceStepTransformer1DModel,
    EDMDPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableAudio3DiTModel,
    StableAudio3Pipeline,
    StableAudioDiTModel,
    StableAudioPipeline,
)
from diffusers.pipelines.ace_step import AceStepConditionEncoder
from diffusers.pipelines.stable_audio import StableAudioProjectionModel
from diffusers.pipelines.stable_audio_3 import StableAudio3DurationEmbedder
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    T5GemmaEncoderModel,
    T5Tokenizer,
)

from hf_audio_vae import STFTVAE, SpectrogramVAE, WaveformVAE

LATENT_CHANNELS, FRAMES, RATE = 4, 12, 150
WIDTH = 8
ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4}
WORDS = ["<pad>", "</s>", "<unk>", "a", "drum"]


def with_random_parameters(model: nn.Module) -> nn.Module:
    """Move every parameter, so that none that starts at zero hides what comes through it."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def oobleck_vae() -> WaveformVAE:
    """A model that AutoencoderOobleck can express."""
    return vae((2, 4), causal=False)


def causal_vae() -> WaveformVAE:
    """A model that it cannot: causal, and with odd strides."""
    return vae((3, 5), causal=True)


def vae(strides: tuple[int, int], *, causal: bool) -> WaveformVAE:
    sizes = {"encoder_hidden_size": 2 * LATENT_CHANNELS, "channel_multiples": (1, 2), "decoder_channels": 4}
    model = WaveformVAE(
        **sizes,
        downsampling_ratios=strides,
        decoder_input_channels=LATENT_CHANNELS,
        audio_channels=2,
        sampling_rate=RATE,
        causal=causal,
    )
    return with_random_parameters(model)


def stft_vae() -> STFTVAE:
    """A model on STFT frames."""
    model = STFTVAE(
        (4, 2), (8, 8), (1, 1), LATENT_CHANNELS, audio_channels=2, sampling_rate=RATE, window_length=8, causal=True
    )
    return with_random_parameters(model)


def spectrogram_vae() -> SpectrogramVAE:
    """A model on complex spectrograms: two bins of two channels are the latent channels of the pipelines."""
    sizes = {"downsampling_ratios": (4, 2), "bin_ratios": (2, 2), "block_out_channels": (8, 8), "layers_per_block": 1}
    model = SpectrogramVAE(
        **sizes, latent_channels=LATENT_CHANNELS // 2, audio_channels=2, sampling_rate=RATE, window_length=8
    )
    return with_random_parameters(model)


def negate_left(vae: WaveformVAE | STFTVAE) -> None:
    """Negate the left channel of whatever a model decodes."""
    if isinstance(vae, WaveformVAE):
        vae.decoder.conv2.weight_v.data[0].neg_()
        return
    for parameter in vae.decoder.project.parameters():
        parameter.data[: len(parameter) // 2].neg_()


def sound(seconds: float, seed: int = 0) -> Tensor:
    """Noise, (1, 2, time)."""
    return 0.3 * torch.randn(1, 2, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def word_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=6, **special)


def stable_audio(vae: nn.Module) -> StableAudioPipeline:
    pieces = ["▁" + word if word.isalpha() else word for word in WORDS]
    text_config = T5Config(vocab_size=len(WORDS), d_model=WIDTH, d_kv=4, d_ff=WIDTH, num_layers=1, num_heads=2)
    transformer = StableAudioDiTModel(
        sample_size=FRAMES,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        cross_attention_dim=WIDTH,
        cross_attention_input_dim=WIDTH,
        time_proj_dim=4,
        global_states_input_dim=2 * WIDTH,
    )
    return StableAudioPipeline(
        vae=vae,
        text_encoder=with_random_parameters(T5EncoderModel(text_config)),
        projection_model=with_random_parameters(StableAudioProjectionModel(WIDTH, WIDTH, min_value=0, max_value=32)),
        tokenizer=T5Tokenizer([(piece, -float(i)) for i, piece in enumerate(pieces)], extra_ids=0, model_max_length=6),
        transformer=with_random_parameters(transformer),
        scheduler=EDMDPMSolverMultistepScheduler(),
    )


def stable_audio_3(vae: nn.Module, pipeline_class: type = StableAudio3Pipeline) -> StableAudio3Pipeline:
    sizes = {"vocab_size": len(WORDS), "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 1}
    module = {**sizes, **ATTENTION}
    text_config = T5GemmaConfig(encoder=module, decoder=module, is_encoder_decoder=False, vocab_size=len(WORDS))
    transformer = StableAudio3DiTModel(
        io_channels=LATENT_CHANNELS,
        embed_dim=WIDTH,
        depth=1,
        num_heads=1,
        cond_token_dim=WIDTH,
        global_cond_dim=WIDTH,
        local_add_cond_dim=1 + LATENT_CHANNELS,
        timestep_features_dim=4,
        num_memory_tokens=1,
    )
    return pipeline_class(
        vae=vae,
        text_encoder=with_random_parameters(T5GemmaEncoderModel(text_config)),
        tokenizer=word_tokenizer(),
        duration_embedder=with_random_parameters(StableAudio3DurationEmbedder(WIDTH, fourier_dim=4)),
        transformer=with_random_parameters(transformer),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0, stochastic_sampling=True),
    )


def ace_step(vae: nn.Module) -> AceStepPipeline:
    sizes = {"hidden_size": WIDTH, "intermediate_size": WIDTH, **ATTENTION}
    text_encoder = Qwen3Model(Qwen3Config(vocab_size=len(WORDS), num_hidden_layers=1, **sizes))
    transformer = AceStepTransformer1DModel(
        num_hidden_layers=1,
        in_channels=3 * LATENT_CHANNELS,  # noise, source and mask
        audio_acoustic_hidden_dim=LATENT_CHANNELS,
        **sizes,
    )
    condition_encoder = AceStepConditionEncoder(
        text_hidden_dim=WIDTH,
        timbre_hidden_dim=LATENT_CHANNELS,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        **sizes,
    )
    return AceStepPipeline(
        vae=vae,
        text_encoder=with_random_parameters(text_encoder),
        tokenizer=word_tokenizer(),
        transformer=with_random_parameters(transformer),
        condition_encoder=with_random_parameters(condition_encoder),
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )
