"""A signal in pieces: the same latents, codes and samples as at once, as early as they are determined."""

import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.runtime.streaming import StreamingCoder
from tests.models.probes import assert_equal_within_rounding, wrong_tensors
from tests.models.spectrogram_vae.test_magnitude_preserving import TestMagnitudePreservingVAE
from tests.models.spectrogram_vae.test_modeling_spectrogram_vae import (
    TestCausalSpectrogramVAE,
    TestClassicSpectrogramVAE,
    TestSpectrogramVAE,
)
from tests.models.stft_vae.test_modeling_stft_vae import TestCausalSTFTVAE, TestSTFTVAE
from tests.models.wave_vae.test_drafted_wave_vae import TestDraftedWaveVAE
from tests.models.wave_vae.test_modeling_wave_vae import TestWaveVAE
from tests.models.waveform_vae.test_modeling_waveform_vae import TestCausalWaveformVAE, TestWaveformVAE
from tests.models.waveform_vqvae.test_modeling_waveform_vqvae import (
    LIKE_ENCODEC,
    TestFiniteScalarWaveformVQVAE,
    TestMirroredWaveformVQVAE,
    TestWaveformVQVAELikeDac,
    TestWaveformVQVAELikeEncodec,
)

Kind = Any  # one of these classes of tests: it builds a tiny model with random weights, and signals
KINDS: list[Kind] = [
    TestWaveformVAE,
    TestCausalWaveformVAE,
    TestWaveformVQVAELikeDac,
    TestWaveformVQVAELikeEncodec,
    TestMirroredWaveformVQVAE,
    TestFiniteScalarWaveformVQVAE,
    TestSTFTVAE,
    TestCausalSTFTVAE,
    TestSpectrogramVAE,
    TestCausalSpectrogramVAE,
    TestClassicSpectrogramVAE,
    TestMagnitudePreservingVAE,
    TestWaveVAE,
    TestDraftedWaveVAE,
]
# Not by those names: pytest would collect their tests here, too.
del TestWaveformVAE, TestCausalWaveformVAE, TestWaveformVQVAELikeDac, TestWaveformVQVAELikeEncodec
del TestSTFTVAE, TestCausalSTFTVAE, TestMirroredWaveformVQVAE, TestFiniteScalarWaveformVQVAE
del TestSpectrogramVAE, TestCausalSpectrogramVAE, TestClassicSpectrogramVAE, TestMagnitudePreservingVAE, TestWaveVAE
del TestDraftedWaveVAE

every_kind = pytest.mark.parametrize("kind", [kind() for kind in KINDS], ids=lambda kind: type(kind).__name__[4:])


def numbers(encoded: DiagonalGaussian | Tensor) -> Tensor:
    """Return latents or codes of what an encoder gives, the deviations of latents beside their means."""
    return torch.cat([encoded.mean, encoded.std], dim=1) if isinstance(encoded, DiagonalGaussian) else encoded


def latents(encoded: DiagonalGaussian | Tensor) -> Tensor:
    return encoded.mode() if isinstance(encoded, DiagonalGaussian) else encoded


def streamed(coder: StreamingCoder[Any], x: Tensor, sizes: list[int]) -> Tensor:
    coder.reset()
    return torch.cat([numbers(y) for y in (*map(coder.push, x.split(sizes, dim=-1)), coder.flush())], dim=-1)


@torch.no_grad()
def whole(model: Any, x: Tensor) -> tuple[DiagonalGaussian | Tensor, Tensor]:
    if not model.codebook_sizes:
        posterior = model.encode(x).latent_dist
        return posterior, model.decode(posterior.mode()).sample
    codes = model.encode(x).audio_codes
    return codes, model.decode(codes).audio_values


@every_kind
def test_pieces_make_the_whole_whatever_they_are(kind: Kind) -> None:
    model = kind.tiny_model(torch.float64)
    streaming, hop = model.streaming(), model.hop_length
    for time in (1, hop - 1, hop, 3 * hop + 1, 40 * hop - 1):
        x = kind.waveform(time, 2, torch.float64)
        encoded, decoded = whole(model, x)
        frames = -(-time // hop)
        for sizes in ([1] * time, [time], [0, time // 3, 0, time - time // 3]):
            y = streamed(streaming.encoder, x, sizes)
            torch.testing.assert_close(y, numbers(encoded), rtol=0, atol=1e-12)
        for sizes in ([1] * frames, [frames], [0, frames // 3, 0, frames - frames // 3]):
            y = streamed(streaming.decoder, latents(encoded), sizes)
            torch.testing.assert_close(y, decoded, rtol=0, atol=1e-12)


@every_kind
@torch.no_grad()
def test_float32_is_equal_within_rounding(kind: Kind) -> None:
    model = kind.tiny_model()
    x = kind.waveform(50 * model.hop_length, 2)
    encoded, decoded = whole(model, x)
    streaming = model.streaming()
    if isinstance(encoded, DiagonalGaussian):  # rounding may choose between two codes that are as near
        y = streamed(streaming.encoder, x, [1] * 17 + [x.shape[-1] - 17])
        assert_equal_within_rounding(y, numbers(encoded))
    assert_equal_within_rounding(streamed(streaming.decoder, latents(encoded), [1] * 50), decoded)


@pytest.mark.parametrize("kind", [KINDS[1](), KINDS[3]()], ids=["vae", "vqvae"])
def test_bfloat16_is_as_near_to_the_truth_as_at_once(kind: Kind) -> None:
    model = kind.tiny_model(torch.bfloat16)
    truth = kind.tiny_model(torch.float64)
    truth.load_state_dict(model.state_dict())
    encoded, _ = whole(model, kind.waveform(50 * model.hop_length, 2, torch.bfloat16))
    z = latents(encoded)
    with torch.no_grad():
        (exact,) = truth.decode(z.double() if z.is_floating_point() else z, return_dict=False)
        (at_once,) = model.decode(z, return_dict=False)
    y = streamed(model.streaming().decoder, z, [1] * 50)
    assert y.dtype == torch.bfloat16
    assert (y - exact).abs().mean() < 1.5 * (at_once - exact).abs().mean()


@every_kind
def test_outputs_come_when_the_latency_says(kind: Kind) -> None:
    model = kind.tiny_model()
    latency, hop = model.algorithmic_latency, model.hop_length
    time = latency.total + latency.start + 3 * hop
    streaming, x = model.streaming(), kind.waveform(time)
    frames_at, samples_at = [], []  # samples known when each was determined
    for place in range(time):
        encoded = streaming.encoder.push(x[..., place : place + 1])
        frames_at += [place + 1] * numbers(encoded).shape[-1]
        samples_at += [place + 1] * streaming.decoder.push(latents(encoded)).shape[-1]
    assert samples_at[0] == latency.start
    late = [n for n in range(len(frames_at)) if frames_at[n] > latency.start]
    assert {frames_at[n] - n * hop for n in late} == {latency.encoder}
    delays = [known - t for t, known in enumerate(samples_at) if known > latency.start]
    assert len(delays) > hop
    assert max(delays) == latency.total


def test_latency_of_published_sizes() -> None:
    # EnCodec at 24 kHz has a hop of 320 samples, and 13 ms by its authors (arXiv:2210.13438).
    changes = {"downsampling_ratios": (2, 4, 5, 8), "sampling_rate": 24000, "decoder_hidden_size": 32}
    latency = KINDS[3]().tiny_model(**changes).algorithmic_latency
    assert (latency.encoder, latency.decoder, latency.total) == (320, 320, 320)
    assert latency.seconds == pytest.approx(0.0133, abs=5e-5)
    assert latency.start == 7 * 320, "the seven taps over frames mirror six of them"


@every_kind
def test_memory_does_not_grow_with_the_signal(kind: Kind) -> None:
    model = kind.tiny_model()
    streaming = model.streaming()
    sizes = []
    for frames in (60, 600, 61):
        streaming.decoder.push(latents(streaming.encoder.push(kind.waveform(frames * model.hop_length))))
        sizes.append(len(pickle.dumps(streaming)))  # with all the memory behind a view
    assert max(sizes) - min(sizes) < 400, "counters and the names of memories vary"


@every_kind
def test_a_signal_that_was_reset_leaves_no_trace(kind: Kind) -> None:
    model = kind.tiny_model()
    x = kind.waveform(20 * model.hop_length)
    fresh, used = model.streaming(), model.streaming()
    used.encoder.push(3 * x[..., :77])
    z = latents(used.encoder.flush())
    used.decoder.push(z)
    sizes = [9, x.shape[-1] - 9]
    assert torch.equal(streamed(used.encoder, x, sizes), streamed(fresh.encoder, x, sizes))
    frames = z.shape[-1]
    assert torch.equal(streamed(used.decoder, z, [frames]), streamed(fresh.decoder, z, [frames]))


@every_kind
@torch.no_grad()
def test_a_stream_does_not_follow_the_weights(kind: Kind) -> None:
    model, x = kind.tiny_model(torch.float64), kind.waveform(300, dtype=torch.float64)
    encoded, decoded = whole(model, x)
    streaming = model.streaming()
    for weight in (*model.parameters(), *model.buffers()):
        weight.mul_(2)
    torch.testing.assert_close(streamed(streaming.encoder, x, [300]), numbers(encoded), rtol=0, atol=1e-12)
    frames = latents(encoded).shape[-1]
    torch.testing.assert_close(streamed(streaming.decoder, latents(encoded), [frames]), decoded, rtol=0, atol=1e-12)


def test_nothing_in_gives_nothing_out() -> None:
    for kind in KINDS:
        streaming = kind().tiny_model().streaming()
        x = kind().waveform(7)[..., :0]
        encoded = [streaming.encoder.push(x), streaming.encoder.flush()]
        assert [numbers(part).shape[-1] for part in encoded] == [0, 0]
        decoded = [streaming.decoder.push(latents(encoded[0])), streaming.decoder.flush()]
        assert [part.shape for part in decoded] == [x.shape, x.shape]


def test_outputs_have_no_gradient() -> None:
    kind = KINDS[0]()
    streaming = kind.tiny_model().streaming()
    assert not streaming.encoder.push(kind.waveform(500).requires_grad_()).mean.requires_grad


def test_the_first_codebooks_are_a_prefix() -> None:
    kind = KINDS[2]()
    model, x = kind.tiny_model(torch.float64), kind.waveform(300, dtype=torch.float64)
    first = streamed(model.streaming(num_codebooks=1).encoder, x, [300])
    assert torch.equal(first, model.encode(x).audio_codes[:, :1])
    decoded = streamed(model.streaming().decoder, first, [first.shape[-1]])
    torch.testing.assert_close(decoded, model.decode(first).audio_values, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="`num_codebooks` is 9; the model has 2"):
        model.streaming(num_codebooks=9)


@every_kind
def test_wrong_pieces_are_named(kind: Kind) -> None:
    streaming = kind.tiny_model().streaming()
    for wrong, value, remedy in wrong_tensors(kind.waveform(20)):
        if wrong.shape[-1]:  # no samples are a piece like another
            with pytest.raises(ValueError, match=".*") as caught:
                streaming.encoder.push(wrong)
            assert value in str(caught.value)
            assert remedy in str(caught.value)
    with pytest.raises(ValueError, match="add or merge dimensions"):
        streaming.decoder.push(kind.waveform(20)[0])


def test_pieces_have_to_fit_together() -> None:
    kind = KINDS[0]()
    coder = kind.tiny_model().streaming().encoder
    with pytest.raises(ValueError, match="no signal to end; `push` one first"):
        coder.flush()
    coder.push(kind.waveform(20))
    for other in (kind.waveform(20, batch=2), kind.waveform(20, dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"keep them equal within a signal, and call `reset\(\)`"):
            coder.push(other)
    coder.flush()
    with pytest.raises(ValueError, match=r"has ended with `flush\(\)`; call `reset\(\)`"):
        coder.push(kind.waveform(20))
    with pytest.raises(ValueError, match="no signal to end"):
        coder.flush()
    coder.reset()
    coder.push(kind.waveform(20, batch=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"norm": "time_group_norm", "causal": False}, "use a model with weight norm"),
        ({"normalize": True}, "use a model with `normalize=False`"),
    ],
)
def test_models_that_need_the_whole_signal_are_refused(changes: dict[str, Any], message: str) -> None:
    model = WaveformVQVAE(WaveformVQVAEConfig(**{**LIKE_ENCODEC, **changes}))
    for ask in (lambda: model.streaming(), lambda: model.algorithmic_latency):
        with pytest.raises(ValueError, match=message):
            ask()
