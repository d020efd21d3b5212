import pytest
import torch

from tests.models.hierarchical_vqvae.tiny import VARIANTS, model_of, waveform


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("changes", VARIANTS, ids=["own", "shared"])
@torch.no_grad()
def test_pieces_make_the_whole_whatever_they_are(changes: dict[str, object], level: int) -> None:
    model = model_of(torch.float64, **changes)
    streaming, hop = model.streaming(level), model.hop_length
    for time in (1, hop, 20 * hop + 1):
        x = waveform(time, 2, torch.float64)
        expected = model.encode(x).audio_codes[level]
        decoded = model.decode(expected, level=level).audio_values
        for sizes in ([1] * time, [time], [0, time // 3, time - time // 3]):
            streaming.encoder.reset()
            pieces = [*map(streaming.encoder.push, x.split(sizes, dim=-1)), streaming.encoder.flush()]
            assert torch.equal(torch.cat(pieces, dim=-1), expected)
        streaming.decoder.reset()
        pieces = [*map(streaming.decoder.push, expected.split(1, dim=-1)), streaming.decoder.flush()]
        torch.testing.assert_close(torch.cat(pieces, dim=-1), decoded, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("level", [0, 2])
def test_outputs_come_when_the_latency_says(level: int) -> None:
    model = model_of()
    streaming = model.streaming(level)
    latency = streaming.latency
    x = waveform(latency.start + latency.total + 3 * model.hop_length)
    known = []  # samples there were when each was determined
    for place in range(x.shape[-1]):
        codes = streaming.encoder.push(x[..., place : place + 1])
        known += [place + 1] * streaming.decoder.push(codes).shape[-1]
    assert known[0] == latency.start
    assert max(count - t for t, count in enumerate(known)) == latency.total
    assert level or model.algorithmic_latency == latency


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="`level` is 3; the model has the levels 0, the finest, to 2"):
        model_of().streaming(3)


def test_a_level_has_to_be_named_where_all_are_decoded_together() -> None:
    model = model_of(joint_decoding=True)
    for ask in (lambda: model.streaming(), lambda: model.algorithmic_latency):
        with pytest.raises(ValueError, match="decodes all levels together; name a `level`"):
            ask()


@torch.no_grad()
def test_a_stream_does_not_follow_the_weights() -> None:
    model, x = model_of(torch.float64), waveform(200, dtype=torch.float64)
    codes = model.encode(x).audio_codes[1]
    decoded = model.decode(codes, level=1).audio_values
    streaming = model.streaming(1)
    for weight in (*model.parameters(), *model.buffers()):
        weight.mul_(2)
    assert torch.equal(torch.cat([streaming.encoder.push(x), streaming.encoder.flush()], dim=-1), codes)
    again = torch.cat([streaming.decoder.push(codes), streaming.decoder.flush()], dim=-1)
    torch.testing.assert_close(again, decoded, rtol=0, atol=1e-12)
