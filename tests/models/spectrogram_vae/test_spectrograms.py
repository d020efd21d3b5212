"""Front ends, lengths, ranks and layouts of the family."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.models.blocks import needs_whole_signal
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.graph_files import TORCH
from tests.models.probes import assert_equal_within_rounding, seeded
from tests.models.spectrogram_vae.test_modeling_spectrogram_vae import CLASSIC, COMPLEX, MEL

SMALL = {"downsampling_ratios": (16, 2), "window_length": 64, "block_out_channels": (2, 2), "latents_mean": None}
SMALL |= {"latents_std": None, "audio_channels": 1, "latent_channels": 1}
KINDS: dict[str, dict[str, Any]] = {
    "complex": {**COMPLEX, **SMALL},
    "mel": {**COMPLEX, **MEL, **SMALL},
    "classic": {**COMPLEX, **CLASSIC, **SMALL},
    "classic mel": {**COMPLEX, **MEL, **CLASSIC, **SMALL},
    "leading frame": {**COMPLEX, **MEL, **SMALL, "causal": True, "leading_frame": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def model_of(kind: str, **changes: Any) -> SpectrogramVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpectrogramVAE(**{**KINDS[kind], **changes}).eval()


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(shape, generator=seeded())


@pytest.mark.parametrize("window_length", [48, 41])
@pytest.mark.parametrize("exponent", [1.0, 0.35])
@torch.no_grad()
def test_the_complex_spectrogram_is_inverted_at_any_length(exponent: float, window_length: int) -> None:
    model = model_of("complex", magnitude_exponent=exponent, window_length=window_length)
    inverse = model.decoder.after[-1]
    for time in (1, 2, 15, 16, 17, 31, 32, 100, 1001):
        x = noise(1, 1, time)
        spectrogram = model.spectrogram(x).transpose(2, 3)
        error = inverse(spectrogram)[..., :time] - x
        assert 10 * torch.log10(x.square().sum() / error.square().sum()) >= 100


@every_kind
@torch.no_grad()
def test_every_length_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_audio_vae.models.spectrogram_vae.vocoders.ITERATIONS", 0)
    model = model_of(kind)
    hop = model.hop_length
    for time in (*range(1, 2 * hop + 2), *range(2 * hop + 2, 4097, 97), 4096):
        output = model(noise(1, 1, time))
        assert output.sample.shape == (1, 1, time)
        assert output.latent_dist.mean.shape[-1] == -(-time // hop)


@pytest.mark.slow
@every_kind
@torch.no_grad()
def test_each_of_4096_lengths_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_audio_vae.models.spectrogram_vae.vocoders.ITERATIONS", 0)
    model, x = model_of(kind), noise(1, 1, 4096)
    for time in range(1, 4097):
        assert model(x[..., :time]).sample.shape == (1, 1, time)


@every_kind
@torch.no_grad()
def test_properties_are_what_is_measured(kind: str) -> None:
    model = model_of(kind)
    x = noise(1, 1, 8 * model.hop_length)
    latents = model.encode(x).latent_dist.mean
    spectrogram = model.spectrogram(x)
    spatial = model.encode(spectrogram).latent_dist.mean
    assert latents.shape == (1, model.latent_channels, 8)
    assert model.latent_hop_length == x.shape[-1] / latents.shape[-1]
    assert model.config.mel_hop_length == x.shape[-1] / spectrogram.shape[2]
    assert model.temporal_compression_ratio == spectrogram.shape[2] / spatial.shape[2]
    padded_bins = -(-spectrogram.shape[3] // 4) * 4
    assert model.mel_compression_ratio == padded_bins / spatial.shape[3]
    assert model.config.sample_rate == model.config.sampling_rate == model.sampling_rate
    assert model.config.latent_channels == spatial.shape[1]
    assert len(model.latents_mean) == len(model.latents_std) == model.latent_channels == model.config.latent_dim


@torch.no_grad()
def test_the_scaling_factor_gives_all_latents_variance_one() -> None:
    model = model_of("mel")
    z = torch.randn(2, model.latent_channels, 5000, generator=seeded())
    mean, std = torch.linspace(-1, 2, len(z[0])), torch.linspace(0.5, 2, len(z[0]))
    model.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    spread = model.denormalize_latents(z)
    assert (model.config.scaling_factor * spread).std() == pytest.approx(1, abs=0.02)
    assert "scaling_factor" not in model.config
    assert torch.equal(model.latents_mean, mean)
    model.reset_statistics()
    assert model.config.scaling_factor == 1


@every_kind
@torch.no_grad()
def test_latents_of_a_waveform_are_those_of_its_spectrogram(kind: str) -> None:
    model = model_of(kind)
    x = noise(2, 1, 5 * model.hop_length - 3)
    of_waveform = model.encode(x).latent_dist
    of_spectrogram = model.encode(model.spectrogram(x)).latent_dist
    for name in ("mean", "std"):
        spatial = getattr(of_spectrogram, name)  # (batch, channels, frames, bins)
        assert torch.equal(spatial.transpose(2, 3).flatten(1, 2), getattr(of_waveform, name))


@every_kind
@torch.no_grad()
def test_spatial_latents_decode_to_the_spectrogram_of_the_waveform(kind: str) -> None:
    model = model_of(kind)
    z = torch.randn(2, model.latent_channels, 5, generator=seeded())
    spatial = z.unflatten(1, (model.config.latent_channels, -1)).transpose(2, 3)
    decoded = model.decode(spatial).sample  # (batch, channels, frames, bins)
    if model.decodes_whole_signals:
        assert torch.equal(model.decode(z).sample, model.vocoder(decoded))
    else:
        assert_equal_within_rounding(model.decoder.after[-1](decoded.transpose(2, 3)), model.decode(z).sample)


@every_kind
@torch.no_grad()
def test_spectrograms_are_coded_in_tiles_exactly(kind: str) -> None:
    model = model_of(kind)
    spectrogram = model.spectrogram(noise(1, 1, 60 * model.hop_length + 1))[:, :, :-1]
    whole = model.encode(spectrogram).latent_dist.mean
    decoded = model.decode(whole).sample
    widths: list[int] = []
    model.encoder.network.register_forward_hook(lambda module, inputs, output: widths.append(inputs[0].shape[-1]))
    model.enable_tiling(3)
    assert_equal_within_rounding(model.encode(spectrogram).latent_dist.mean, whole)
    assert max(widths) < spectrogram.shape[2] / 2
    assert_equal_within_rounding(model.decode(whole).sample, decoded)


@every_kind
def test_transposed_layouts_are_refused_with_the_remedy(kind: str) -> None:
    model = model_of(kind)
    spectrogram = model.spectrogram(noise(1, 1, 20 * model.hop_length))
    with pytest.raises(ValueError, match=r"expected \(batch, \d, frames, \d+\).*transpose the last two dimensions"):
        model.encode(spectrogram.transpose(2, 3))
    latents = model.encode(spectrogram).latent_dist.mean
    with pytest.raises(ValueError, match=r"`latents`.*transpose the last two dimensions"):
        model.decode(latents.transpose(2, 3))
    with pytest.raises(ValueError, match=r"`waveform`.*NaN or infinite"):
        model.encode(spectrogram / 0)


@torch.no_grad()
def test_segments_of_the_classic_network_do_not_hear_each_other() -> None:
    model = model_of("classic", window_length=32)  # windows reach 8 samples into a neighbour
    x = noise(1, 1, 4 * model.hop_length)
    other = x.clone()
    other[..., model.hop_length + 8 : 2 * model.hop_length - 8] = 0
    differs = (model.encode(x).latent_dist.mean != model.encode(other).latent_dist.mean).any(dim=1)
    assert differs.flatten().tolist() == [False, True, False, False]


@pytest.mark.parametrize("leading_frame", [False, True])
@torch.no_grad()
def test_a_causal_network_reads_no_later_frames(leading_frame: bool) -> None:
    model = model_of("mel", causal=True, leading_frame=leading_frame)
    mel = noise(1, 1, 12, 12)
    frame = 7 if leading_frame else 8  # the first after a whole number of latent frames
    z, other = (model.encode(x).latent_dist.mean for x in (mel, F.pad(mel[:, :, :frame], (0, 0, 0, 12 - frame))))
    changed = (z != other).any(dim=3).flatten().tolist()
    assert changed == [False] * 4 + [True] * 2


@torch.no_grad()
def test_a_mel_model_needs_whole_signals_and_others_do_not() -> None:
    for kind in KINDS:
        model = model_of(kind)
        assert needs_whole_signal(model) == ("mel" in kind or kind == "leading frame")
    with pytest.raises(ValueError, match="cannot be streamed.*whole spectrogram; decode whole signals"):
        model.streaming()
    with pytest.raises(ValueError, match="cannot be streamed"):
        _ = model.algorithmic_latency


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("complex", {"front_end": "cqt"}, r"`front_end` 'cqt' is unknown; use one of \('complex', 'mel'\)"),
        ("complex", {"network": "unet"}, "`network` 'unet' is unknown"),
        ("complex", {"mel_bins": 8}, "`mel_bins` is 8, but `front_end` is 'complex'; leave it out"),
        ("mel", {"magnitude_exponent": 0.5}, "`magnitude_exponent` is 0.5, but `front_end` is 'mel'"),
        ("mel", {"mel_bins": None}, "`mel_bins` is None; give the number"),
        ("mel", {"mel_bins": 10}, "`mel_bins` is 10, not a multiple of the product 4"),
        ("mel", {"max_frequency_hz": 5000.0}, "`max_frequency_hz` 5000.0; use 0 <= min < max <= 4000"),
        ("complex", {"num_frames": 4}, "`num_frames` is 4, but `network` is 'residual'"),
        ("classic", {"num_frames": 5}, "`num_frames` is 5, not a multiple of the product 2"),
        ("classic", {"num_frames": None}, "`num_frames` is None"),
        ("classic", {"causal": True}, "no meaning for `network` 'classic'"),
        ("complex", {"leading_frame": True}, "`leading_frame` is True and `causal` False"),
        ("complex", {"bin_ratios": (2,)}, "differ in length; give one value of each per stage"),
        ("complex", {"causal": 1}, "`causal` is 1; it has to be true or false"),
    ],
)
def test_a_configuration_that_is_out_of_range_or_has_no_meaning_is_refused(
    kind: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(kind, **changes)


def test_a_mel_model_returns_its_own_term_and_no_waveform_in_training() -> None:
    model = model_of("mel")
    x = noise(2, 1, 10 * model.hop_length)
    output = model(x)
    posterior = model.encode(x).latent_dist
    spatial = posterior.mean.unflatten(1, (1, -1)).transpose(2, 3)
    expected = (model.decode(spatial).sample - model.spectrogram(x)).abs().mean()
    torch.testing.assert_close(output.losses["spectrogram"], expected)
    assert output.sample.shape == x.shape
    trained = model.train()(x, generator=seeded())
    assert trained.sample is None
    assert trained.reconstructions == ()
    trained.regularisers["spectrogram"].backward()
    assert all(parameter.grad is not None for parameter in model.decoder.parameters())
    assert model_of("complex").reconstruction_terms == ()


@pytest.mark.slow
@every_kind
def test_it_is_exported_for_any_length_to_a_waveform_or_a_mel_spectrogram(kind: str, tmp_path: Path) -> None:
    model = model_of(kind, latent_channels=2)
    (encoder, latents), (decoder, decoded) = export_model(model, tmp_path, file_format=TORCH).items()
    assert [encoder.name, decoder.name] == ["encoder.pt2", "decoder.pt2"]
    assert latents.keys() == {"latents"}
    assert decoded.keys() == {"spectrogram" if model.decodes_whole_signals else "waveform"}
