"""Signals that are coded block by block, with any family."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hf_audio_vae import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
    WaveVAE,
    WaveVAEConfig,
)
from hf_audio_vae.models import AutoencoderModel, blocks
from hf_audio_vae.models.blocks import (
    decode_blocks,
    encode_blocks,
    encoding_needs_whole_signal,
    needs_whole_signal,
    reconstruct_blocks,
)
from tests.models.spectrogram_vae.test_spectrograms import model_of as spectrogram_model

TINY = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": (4, 5), "hidden_size": 8}
CODES = {"num_codebooks": 2, "codebook_size": 16, "codebook_dim": 4, "residual_dilations": (1,), "sampling_rate": 2000}
LEVELS = {"sampling_rate": 2000, "hidden_size": 4, "width": 4, "depth": 1, "codebook_size": 16}
MODELS: dict[str, Callable[[], AutoencoderModel]] = {
    "vae": lambda: WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 2000),
    "causal vae": lambda: WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 2000, causal=True),
    "codec": lambda: WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES)),
    "levels": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS)),
    "joint levels": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS, joint_decoding=True)),
    "shared levels": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**LEVELS, shared_encoder=True)),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AutoencoderModel:
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[request.param]().eval()


def signal(time: int) -> Tensor:
    return torch.randn(1, 1, time, generator=torch.Generator().manual_seed(1))


def far_share(ours: Tensor, theirs: Tensor) -> float:
    """Share of values that differ; codes between two entries may move."""
    assert ours.shape == theirs.shape
    return float(((ours - theirs).abs() > 1e-4 * theirs.abs().max()).float().mean())


@pytest.mark.parametrize("time", [1, 777, 5003, 12_000])
@torch.no_grad()
def test_blocks_join_to_the_whole(model: AutoencoderModel, time: int) -> None:
    x, asked = signal(time), []

    def read(start: int, stop: int) -> Tensor:
        asked.append(stop - start)
        return x[..., start:stop]

    parts = list(reconstruct_blocks(model, read, time))
    assert far_share(torch.cat(parts, dim=-1), model(x).sample) < 0.01
    encoded = [torch.cat(level, dim=-1) for level in zip(*encode_blocks(model, read, time), strict=True)]
    output = model.encode(x)
    if model.codebook_sizes:
        expected = list(output.audio_codes) if model.codes_by_level else [output.audio_codes]
        decode = lambda codes: model.decode(codes).audio_values  # noqa: E731
    else:
        expected = [output.latent_dist.mean, output.latent_dist.std]
        decode = lambda z: model.decode(z).sample  # noqa: E731
    for ours, theirs in zip(encoded, expected, strict=True):
        assert far_share(ours.float(), theirs.float()) < 0.01
    frames = tuple(expected) if model.codes_by_level else expected[0]
    decoded = list(decode_blocks(model, decode, frames))
    assert far_share(torch.cat(decoded, dim=-1), decode(frames)) < 0.01
    if time > 10_000:
        assert len(parts) > 5
        assert len(decoded) > 5
        assert max(asked) < time / 2


@pytest.mark.parametrize(
    "changes",
    [{"normalize": True}, {"norm": "time_group_norm"}, {"num_lstm_layers": 1}],
    ids=lambda value: next(iter(value)),
)
@torch.no_grad()
def test_what_depends_on_all_of_a_signal_is_coded_as_a_whole(changes: dict[str, object]) -> None:
    model = WaveformVQVAE(WaveformVQVAEConfig(**TINY, **CODES, **changes)).eval()
    assert needs_whole_signal(model)
    x = signal(3001)
    (whole,) = reconstruct_blocks(model, lambda start, stop: x[..., start:stop], 3001)
    assert torch.equal(whole, model(x).sample)


@pytest.mark.parametrize("kind", ["wave", "mel", "classic mel", "leading frame"])
@torch.no_grad()
def test_what_is_decoded_as_a_whole_is_encoded_in_blocks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_SECONDS", 0.1)
    wave = WaveVAEConfig(
        sampling_rate=8000, downsampling_ratios=(2, 5), hidden_size=4, residual_channels=4, skip_channels=4
    )
    model = WaveVAE(wave).eval() if kind == "wave" else spectrogram_model(kind)
    assert needs_whole_signal(model)
    assert not encoding_needs_whole_signal(model)
    x = signal(5003).expand(-1, model.config.audio_channels, -1)
    parts = list(encode_blocks(model, lambda start, stop: x[..., start:stop], 5003))
    assert len(parts) > 1
    mean = torch.cat([mean for mean, _ in parts], dim=-1)
    torch.testing.assert_close(mean, model.encode(x).latent_dist.mean, rtol=0, atol=1e-5)


def test_other_models_need_no_whole_signal(model: AutoencoderModel) -> None:
    assert not needs_whole_signal(model)
