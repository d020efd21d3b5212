import pytest
import torch

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio
from hf_audio_vae.comparison.systems import AnchorSystem, ModelSystem, is_anchor

MUSIC, RATE = read_audio("data/held_out/music_musicbox.ogg")  # 44.1 kHz, stereo
CLIP = MUSIC[:, : RATE * 2 + 17]


@pytest.mark.parametrize("name", ["opus@64", "mp3@128", "vorbis@96"])
def test_anchors_keep_rate_channels_length_and_time(name: str) -> None:
    coded = AnchorSystem(name).code(CLIP, RATE)
    assert coded.waveform.shape == CLIP.shape
    assert coded.figures["file_bits_per_second"] == pytest.approx(1000 * float(name.partition("@")[2]), rel=0.25)
    error, power = (coded.waveform - CLIP).square().sum(), CLIP.square().sum()
    assert error < power / 50  # also at 48 kHz, which Opus codes
    assert error < (coded.waveform.roll(1, dims=-1) - CLIP).square().sum()


def test_a_model_of_another_rate_and_one_channel_is_compared_at_the_rate_of_the_clip() -> None:
    class Identity(WaveformVAE):
        def forward(self, sample, **_options):
            output = super().forward(sample)
            output.sample = sample
            return output

    coded = ModelSystem("identity", Identity(4, (3, 5), (1, 2), 4, 2, 1, 22050).eval()).code(CLIP, RATE)
    assert coded.waveform.shape == CLIP.shape
    torch.testing.assert_close(coded.waveform[0], coded.waveform[1])
    low = torch.fft.rfft(torch.stack([coded.waveform[0], CLIP.mean(dim=0)]) * torch.hann_window(CLIP.shape[1]))
    bins = CLIP.shape[1] * 9000 // RATE
    assert (low[0, :bins] - low[1, :bins]).abs().max() < 1e-2 * low[1].abs().max()
    above = CLIP.shape[1] * 11300 // RATE
    assert low[0, above:].abs().max() < 1e-3 * low[1].abs().max()


def test_models_tell_their_size_and_the_rate_of_their_latents() -> None:
    vae = ModelSystem("vae", WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 15000).eval())
    properties = vae.properties()
    assert properties["latent_numbers_per_second"] == 2 * 1000
    assert properties["compression"] == 7.5
    assert properties["parameters"] == sum(p.numel() for p in vae.model.parameters())
    config = WaveformVQVAEConfig(sampling_rate=16000, num_codebooks=2, codebook_size=16)
    codec = ModelSystem("codec", WaveformVQVAE(config).eval())
    bits = 2 * 4 * codec.model.frame_rate
    assert codec.properties()["compression"] == pytest.approx(16 * 16000 / bits)
    assert "latent_numbers_per_second" not in codec.properties()


def test_equal_weights_have_one_identity_and_others_another() -> None:
    model = WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000)
    first = ModelSystem("a", model).identity
    assert ModelSystem("b", model).identity == first
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert ModelSystem("a", model).identity != first


def test_output_that_is_not_finite_names_the_model() -> None:
    model = WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000).eval()
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="broken: the output is NaN or infinite"):
        ModelSystem("broken", model).code(CLIP, RATE)


@pytest.mark.parametrize("name", ["opus", "opus@", "opus@x", "flac@64", "opus@-1", "outputs/opus@64/vae"])
def test_other_names_are_no_anchors(name: str) -> None:
    assert not is_anchor(name)
    with pytest.raises(ValueError, match="is no anchor"):
        AnchorSystem(name)
