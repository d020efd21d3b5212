"""A mel model of ours as the audio autoencoder of a complete, tiny Kandinsky 6 pipeline."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    Kandinsky6TI2VAPipeline,
    Kandinsky6Transformer3DModel,
    MMAudioVocoder,
)
from torch import Tensor

from hf_audio_vae import MelVAE, SpectrogramVAE
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.spectrogram_vae.neural_vocoders import mmaudio_vocoder
from tests.pipelines.parts import with_random_parameters

RATE, HOP, BINS, WIDTH = 400, 4, 8, 8
SIZES = {"downsampling_ratios": (HOP, 2), "block_out_channels": (4, 8), "layers_per_block": 1, "mel_bins": BINS}
SIZES |= {"sampling_rate": RATE, "window_length": 32}
NETWORKS = {"residual": {"bin_ratios": (2, 2)}, "magnitude_preserving": {"bin_ratios": (1, 1)}}
WITHOUT = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))


@pytest.fixture(autouse=True)
def seeded_weights() -> None:
    torch.manual_seed(0)


def mel_vae(network: str = "residual") -> MelVAE:
    statistics = {"latents_mean": (0.0,) * 8, "latents_std": (2.0,) * 8}
    channels = 4 if network == "residual" else 8  # 8 channels of latents in both
    return with_random_parameters(
        MelVAE("mel", network, **SIZES, **NETWORKS[network], latent_channels=channels, **statistics)
    )


def kandinsky6(network: str) -> Kandinsky6TI2VAPipeline:
    transformer = Kandinsky6Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=WIDTH,
        in_text_dim2=WIDTH,
        time_dim=8,
        model_dim=16,
        ff_dim=16,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
        in_audio_dim=8,
        out_audio_dim=8,
    )
    vae = AutoencoderKLHunyuanVideo(
        latent_channels=4, block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2
    )
    vocoder = MMAudioVocoder(BINS, 8, (2, 2), (4, 4), (3,), ((1,),))
    pipeline = Kandinsky6TI2VAPipeline(
        transformer=with_random_parameters(transformer),
        vae=vae.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(),
        audio_vae=mel_vae(network),
        vocoder=with_random_parameters(vocoder),
        **WITHOUT,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(pipeline: Kandinsky6TI2VAPipeline, output_type: str = "pt") -> Tensor:
    return pipeline(
        prompt_embeds=torch.linspace(-1, 1, 3 * WIDTH).view(1, 3, WIDTH),
        pooled_prompt_embeds=torch.linspace(-1, 1, WIDTH)[None],
        height=16,
        width=16,
        num_frames=5,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(0),
        output_type=output_type,
    ).audio


@pytest.mark.parametrize("network", NETWORKS)
def test_the_pipeline_decodes_what_a_spectrogram_vae_decodes_with_its_vocoder(network: str, tmp_path: Path) -> None:
    pipeline = kandinsky6(network)
    ours = pipeline.audio_vae
    assert (pipeline.audio_sample_rate, pipeline.audio_latent_hop_length) == (RATE, ours.hop_length)
    audio, latents = generate(pipeline), generate(pipeline, "latent")
    assert latents.shape == (1, ours.latent_channels, -(-5 * RATE // (24 * ours.hop_length)))
    ours.save_pretrained(tmp_path)
    same = load_autoencoder(tmp_path)
    assert type(same) is SpectrogramVAE
    same.set_vocoder(mmaudio_vocoder(pipeline.vocoder, RATE))
    with torch.no_grad():
        decoded = same.decode(2 * latents).sample  # the standard deviation of the latents
    torch.testing.assert_close(audio, decoded[:, 0])


@pytest.mark.slow
def test_the_saved_pipeline_gives_the_same_audio_in_a_new_process(tmp_path: Path) -> None:
    pipeline = kandinsky6("residual")
    pipeline.save_pretrained(tmp_path / "pipeline")
    script = [sys.executable, "-m", "tests.pipelines.test_kandinsky6", str(tmp_path)]
    subprocess.run(script, check=True, cwd=Path(__file__).parents[2])
    torch.testing.assert_close(torch.load(tmp_path / "audio.pt"), generate(pipeline))


@torch.no_grad()
def test_a_mel_vae_reads_the_folder_of_a_spectrogram_vae_and_decodes_its_spectrogram(tmp_path: Path) -> None:
    vae = with_random_parameters(SpectrogramVAE("mel", "residual", **SIZES, bin_ratios=(2, 2), latent_channels=4))
    vae.save_pretrained(tmp_path)
    mel_vae = MelVAE.from_pretrained(tmp_path)
    x = 0.3 * torch.randn(2, 1, 9 * vae.hop_length)
    latents = vae.encode(x).latent_dist.mean
    spatial = vae.encode(vae.spectrogram(x)).latent_dist.mean
    for tiled in (False, True):
        mel_vae.use_tiling = tiled
        mel = mel_vae.decode(latents).sample
        assert mel.shape == (2, BINS, 9 * vae.temporal_compression_ratio)
        torch.testing.assert_close(mel.mT[:, None], vae.decode(spatial).sample)
        assert torch.equal(mel, mel_vae.decode(latents, return_dict=False)[0])
    assert torch.equal(mel_vae.decode(spatial).sample, mel.mT[:, None])


@pytest.mark.parametrize("changes", [{"front_end": "complex", "mel_bins": None}, {"audio_channels": 2}])
def test_a_model_without_mono_mel_spectrograms_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="use 'mel' and 1, or a SpectrogramVAE"):
        MelVAE(**{"front_end": "mel", **SIZES, "bin_ratios": (2, 2), **changes})


def main(folder: Path) -> None:
    pipeline = Kandinsky6TI2VAPipeline.from_pretrained(folder / "pipeline", **WITHOUT)
    assert type(pipeline.audio_vae) is MelVAE
    torch.save(generate(pipeline), folder / "audio.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
