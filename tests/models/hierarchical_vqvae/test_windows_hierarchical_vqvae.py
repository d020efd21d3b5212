"""Chunks of a signal, and items of a batch: each is coded as if it were alone."""

import pytest
import torch

from tests.dependence import clipped, inputs_read
from tests.models.contract import assert_equal_within_rounding, seeded
from tests.models.hierarchical_vqvae.tiny import equal, model_of, waveform

# Chunks


@torch.no_grad()
@pytest.mark.parametrize("tile_frames", [1, 7, None])
def test_every_level_in_chunks_matches_whole(variant, tile_frames):
    model = model_of(torch.float64, **variant)
    hop = model.hop_length
    for time in (1, 2 * hop + 1, 30 * hop - 1, 45 * hop):
        x = waveform(time, batch=2, dtype=torch.float64)
        model.disable_tiling()
        whole = model(x)
        levels = [model.decode(whole.audio_codes, level=level).audio_values for level in range(3)]
        model.enable_tiling(tile_frames)
        chunked = model(x)
        assert equal(model.encode(x).audio_codes, whole.audio_codes)
        assert_equal_within_rounding(chunked.audio_values, whole.audio_values)
        assert_equal_within_rounding(model.decode(whole.audio_codes).audio_values[..., :time], whole.audio_values)
        for level, expected in enumerate(levels):
            assert_equal_within_rounding(model.decode(whole.audio_codes, level=level).audio_values, expected)


def test_input_spans_hold_all_that_is_read(variant):
    model = model_of(torch.float64, **variant)
    for parameter in model.parameters():
        parameter.data.abs_()  # where ReLU is 0 nothing is read
    x = waveform(60 * 24, dtype=torch.float64).abs()
    for encoder, frames in zip(
        model.encoders, (30 * 6, 30 * 2, 30) if len(model.encoders) > 1 else (30,), strict=True
    ):
        span = encoder.input_span(frames, frames + 2)
        assert inputs_read(lambda x, encoder=encoder: encoder(x)[-1], x, frames, frames + 2) == clipped(span, 60 * 24)
    for decoder, hop in zip(model.decoders, model.hop_lengths, strict=True):
        z = torch.rand(1, 5, 80, generator=seeded(), dtype=torch.float64)
        span = decoder.input_span(40 * hop + 1, 41 * hop)
        assert inputs_read(lambda z, decoder=decoder: decoder([z]), z, 40 * hop + 1, 41 * hop) == clipped(span, 80)


# Batches


@torch.no_grad()
@pytest.mark.parametrize("tiled", [False, True])
def test_every_level_of_an_item_is_what_it_is_alone(variant, tiled):
    model = model_of(torch.float64, **variant)
    if tiled:
        model.enable_tiling(3)
    times = (24 * 9, 24 * 4 - 5, 24 * 9 - 1, 1)
    x = waveform(24 * 9, batch=4, dtype=torch.float64)
    mask = torch.arange(24 * 9) < torch.tensor(times)[:, None]
    x[1, :, times[1] :] = torch.nan  # padding may hold anything
    encoded, output = model.encode(x, mask), model(x, mask)
    decoded = model.decode(encoded.audio_codes, encoded.audio_codes_mask).audio_values
    for item, time in enumerate(times):
        alone = model.encode(x[item : item + 1, :, :time])
        sound = model.decode(alone.audio_codes).audio_values
        for codes, valid, expected in zip(
            encoded.audio_codes, encoded.audio_codes_mask, alone.audio_codes, strict=True
        ):
            frames = expected.shape[-1]
            assert valid[item].sum() == frames
            assert torch.equal(codes[item : item + 1, :, :frames], expected)
            assert not codes[item, :, frames:].any()
        assert equal(output.audio_codes_mask, encoded.audio_codes_mask)
        assert equal(output.audio_codes, encoded.audio_codes)
        assert_equal_within_rounding(decoded[item : item + 1, :, : sound.shape[-1]], sound)
        assert not decoded[item, :, sound.shape[-1] :].any()
        assert_equal_within_rounding(output.audio_values[item, :, :time], decoded[item, :, :time])
        assert not output.audio_values[item, :, time:].any()
        for level in range(3):
            part = model.decode(encoded.audio_codes[level], encoded.audio_codes_mask[level], level=level).audio_values
            assert_equal_within_rounding(output.level_values[level][item, :, :time], part[item, :, :time])


def test_padding_teaches_no_codebook():
    x = waveform(24 * 8, dtype=torch.float64)
    padded = torch.cat([x, torch.ones_like(x)], dim=-1)
    mask = torch.arange(24 * 16)[None] < 24 * 8
    alone, batch = model_of(torch.float64).train(), model_of(torch.float64).train()
    batch(padded, mask), alone(x)
    for ours, theirs in zip(batch.quantizers, alone.quantizers, strict=True):
        assert_equal_within_rounding(ours.codebook.vectors, theirs.codebook.vectors)
