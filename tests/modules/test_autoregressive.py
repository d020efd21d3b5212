"""Generation with cached layers equals the prediction of all samples at once; compiled kernels equal both."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.modules import autoregressive, frame_generation
from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet
from hf_audio_vae.modules.frame_generation import FrameGenerator, UniformNoise
from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS
from hf_audio_vae.runtime.fused.wavenet import compiled_wavenet
from tests.memory import working_bytes

HOP = 40
DILATIONS = (1, 2, 4, 16, 1, 3)  # not all divide a frame


def new_net(
    distribution: str = "mu_law",
    *,
    dtype: torch.dtype = torch.float64,
    dilations: tuple[int, ...] = DILATIONS,
    audio_channels: int = 1,
    channels: int = 6,
) -> AutoregressiveWaveNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        law = DISTRIBUTIONS[distribution](16)
        net = AutoregressiveWaveNet(audio_channels, 3, channels, 10, dilations, HOP, law).to(dtype)
        for parameter in net.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return net.eval()


def frames_of(count: int, batch: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, 3, count, generator=torch.Generator().manual_seed(1), dtype=dtype)


@torch.no_grad()
def naive(net: AutoregressiveWaveNet, frames: Tensor, noise: UniformNoise, temperature: float) -> Tensor:
    """Predict all samples anew for each sample, without any cache."""
    batch, _, count = frames.shape
    waveform = frames.new_zeros(batch, net.audio_channels, count * HOP)
    for frame in range(count):
        for sample, uniform in enumerate(noise.next(HOP, net.audio_channels, frames.device)):
            time = frame * HOP + sample
            past = F.pad(net.distribution.network_input(waveform), (1, -1))
            first = max(frame - -(-net.receptive_field // HOP) - 1, 0)  # frames before are out of reach
            parameters = net.predict(frames[..., first : frame + 1], past[..., first * HOP : (frame + 1) * HOP])
            parameters = parameters[..., time - first * HOP]
            waveform[..., time] = net.distribution.draw(parameters, uniform, temperature, past[..., time])
    return waveform


def loud_net(distribution: str, dtype: torch.dtype = torch.float64) -> AutoregressiveWaveNet:
    """A network whose most probable component changes from sample to sample."""
    net = new_net(distribution, dtype=dtype)
    for parameter in net.parameters():
        parameter.data *= 1.5
    if distribution == "logistic_mixture":  # whose weights are small
        net.conv_out.weight.data *= 10
    return net


@pytest.mark.parametrize("count", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_cached_generation_equals_the_naive_one_in_all_sixteen_bits(distribution: str, temperature: float, count: int):
    net, frames = loud_net(distribution), 4 * frames_of(count // HOP)
    cached, anew = (
        (2**15 * samples).round()
        for samples in (
            net.generate(frames, UniformNoise(1), temperature),
            naive(net, frames, UniformNoise(1), temperature),
        )
    )
    assert cached.shape[-1] == count
    assert cached.unique().numel() > 3
    assert torch.equal(cached, anew)


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@torch.no_grad()
def test_greedy_generation_in_bfloat16_takes_the_most_probable_component_within_rounding(
    distribution: str, is_compiled: bool
):
    net, frames = loud_net(distribution, torch.bfloat16), (4 * frames_of(2000 // HOP)).bfloat16()
    samples = (compiled(net) if is_compiled else net).generate(frames, UniformNoise(1), 0.0)
    assert samples.dtype == torch.bfloat16
    exact, law = copy.deepcopy(net).double(), net.distribution
    past = F.pad(law.network_input(samples.double()), (1, -1))
    parameters = exact.predict(frames.double(), past)[0].T  # (time, num_parameters)
    count = law.num_components
    eps = torch.finfo(torch.bfloat16).eps
    rounding = 8 * eps * parameters.abs().max()  # a dozen layers, each rounded
    drawn = samples[0, 0, :, None].double()
    if distribution == "mu_law":
        is_drawn = (law.values(torch.arange(count)) - drawn).abs() <= eps
    else:
        means = past[0, 0, :, None] + parameters[:, count : 2 * count]
        is_drawn = (means.clamp(-1, 1) - drawn).abs() <= rounding
    is_probable = parameters[:, :count] >= parameters[:, :count].amax(dim=1, keepdim=True) - rounding
    assert is_probable.double().mean() < 0.5  # so that few components pass
    assert (is_drawn & is_probable).any(dim=1).all()


def test_a_receptive_field_longer_than_the_signal_begins_with_zeros():
    net = new_net(dilations=(1, 64, 256, 512))
    frames = frames_of(8)
    past = F.pad(net.distribution.network_input(net.generate(frames, UniformNoise(1), 0.0)), (1, -1))
    parameters = net.predict(frames, past)[0].T
    drawn = net.distribution.draw(parameters, torch.zeros(len(parameters), 1, 2), 0.0, past[0].T)
    assert torch.equal(drawn.T[None], net.generate(frames, UniformNoise(1), 0.0))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_prediction_reads_the_samples_before_and_no_others(distribution: str):
    net, frames = new_net(distribution), frames_of(3)
    waveform = (torch.rand(1, 1, 3 * HOP, dtype=torch.float64) - 0.5).requires_grad_()
    time = 2 * HOP + 5
    net.predict(frames, F.pad(net.distribution.network_input(waveform), (1, -1)))[..., time].sum().backward()
    read = waveform.grad[0, 0].nonzero().flatten()
    assert (int(read[0]), int(read[-1])) == (time - net.receptive_field, time - 1)


@torch.no_grad()
def test_means_are_predicted_in_units_of_the_first_scales():
    net, frames = new_net("logistic_mixture", audio_channels=2), frames_of(2)
    past = torch.rand(1, 2, 2 * HOP, dtype=torch.float64) - 0.5
    before = net.distribution.split(net.predict(frames, past), 2)
    net.conv_out.bias += 1
    logits, means, scales = (net.distribution.split(net.predict(frames, past), 2) - before).chunk(3, dim=2)
    units = torch.linspace(-3, -7, 16).exp().double()[None, None, :, None]
    torch.testing.assert_close(means, units.expand_as(means))
    for others in (logits, scales):
        torch.testing.assert_close(others, torch.ones_like(others))


def test_quiet_sound_changes_a_new_network_as_much_as_loud_sound():
    torch.manual_seed(0)
    net = AutoregressiveWaveNet(1, 3, 6, 10, (1, 2, 4, 8), HOP, DISTRIBUTIONS["logistic_mixture"](5))
    frames, sound = torch.randn(1, 3, 40), torch.randn(1, 1, 40 * HOP)
    norms = []
    for level in (0.1, 0.001):
        net.zero_grad()
        net.nll(frames, level * sound).mean().backward()
        norms.append(net.hidden.weight.grad.norm().item())
    assert max(norms) < 10 * min(norms)  # the gradient of a mean alone is 100 times as large


def test_hidden_frames_change_no_prediction():
    net, frames = new_net(), frames_of(3)
    waveform = torch.rand(1, 1, 3 * HOP, dtype=torch.float64) - 0.5
    other = waveform.clone()
    other[..., HOP : 2 * HOP - 1] = 0.9  # the last sample of the hidden frame is still predicted
    hidden = torch.tensor([[[False, True, False]]])
    first, second = (net.nll(frames, x, dropped=hidden)[..., 2 * HOP - 1 :] for x in (waveform, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, net.nll(frames, waveform)[..., 2 * HOP - 1 :])


def test_the_probabilities_of_all_values_of_a_sample_sum_to_one():
    net, frames, time = new_net(), frames_of(2), HOP + 7
    values = net.distribution.values(torch.arange(net.distribution.num_components))
    waveforms = (torch.rand(1, 1, 2 * HOP, dtype=torch.float64) - 0.5).repeat(len(values), 1, 1)
    waveforms[:, 0, time] = values
    nll = net.nll(frames.expand(len(values), -1, -1), waveforms)
    torch.testing.assert_close(nll[..., time].exp().reciprocal().sum().item(), 1.0, rtol=1e-5, atol=0)


@torch.no_grad()
def test_the_likelihood_of_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch):
    net, frames = new_net(), frames_of(9, batch=2)
    waveform = torch.rand(2, 1, 7 * HOP + 3, dtype=torch.float64) - 0.5
    whole = net.nll(frames, waveform)
    monkeypatch.setattr(autoregressive, "PIECE_SAMPLES", 2 * HOP - 1)
    torch.testing.assert_close(net.nll(frames, waveform), whole)


@torch.no_grad()
def test_the_memory_of_the_likelihood_does_not_grow_with_the_layers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(autoregressive, "PIECE_SAMPLES", 4 * HOP)
    net = new_net(channels=64)

    def peak(count: int) -> int:
        return working_bytes(partial(net.nll, frames_of(count)), torch.zeros(1, 1, count * HOP, dtype=torch.float64))

    short, long = peak(20), peak(200)
    assert long - short < 180 * HOP * 8 * 8  # eight values of a sample, a layer has 192


def test_a_shorter_waveform_has_the_same_likelihood():
    net, frames = new_net(), frames_of(3)
    waveform = torch.rand(1, 1, 3 * HOP, dtype=torch.float64) - 0.5
    whole = net.nll(frames, waveform)
    torch.testing.assert_close(net.nll(frames, waveform[..., : 2 * HOP + 7]), whole[..., : 2 * HOP + 7])


def test_one_seed_gives_one_waveform_and_another_seed_another():
    net, frames = new_net(), frames_of(4)
    a, b, c = (net.generate(frames, UniformNoise(1, torch.Generator().manual_seed(seed))) for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_an_item_of_a_batch_equals_the_item_alone():
    net, frames = new_net(), frames_of(4, batch=3)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    batch = net.generate(frames, UniformNoise(3, generators))
    alone = net.generate(frames[1:2], UniformNoise(1, [torch.Generator().manual_seed(6)]))
    assert torch.equal(batch[1:2], alone)
    with pytest.raises(ValueError, match="2 generators for 3 items"):
        UniformNoise(3, generators[:2])


def test_a_state_continues_the_waveform():
    net, frames = new_net(audio_channels=2), frames_of(5, batch=2)
    whole = net.generate(frames, UniformNoise(2))
    noise = UniformNoise(2)
    with torch.inference_mode():
        state = net.new_state(2)
    pieces = [net.generate(piece, noise, state=state) for piece in frames.split((1, 3, 1), dim=-1)]
    assert torch.equal(torch.cat(pieces, dim=-1), whole)


def test_conditions_of_a_few_frames_at_a_time_give_the_same_samples(monkeypatch: pytest.MonkeyPatch):
    net, frames = new_net(), frames_of(5)
    whole = net.generate(frames, UniformNoise(1))
    monkeypatch.setattr(frame_generation, "PIECE_FRAMES", 2)
    assert torch.equal(net.generate(frames, UniformNoise(1)), whole)


def test_samples_are_put_out_frame_by_frame():
    net, frames, seen = new_net(), frames_of(3), []
    whole = net.generate(frames, UniformNoise(1), put=seen.append)
    assert [piece.shape for piece in seen] == 3 * [(1, 1, HOP)]
    assert torch.equal(torch.cat(seen, dim=-1), whole)


def compiled(net: AutoregressiveWaveNet) -> FrameGenerator:
    fast = compiled_wavenet(net)
    if fast is None:
        pytest.skip("no compiler")
    return fast


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("channels", [6, 64, 70])
def test_compiled_generation_equals_the_cached_one(distribution: str, channels: int, temperature: float):
    net = new_net(distribution, dtype=torch.float32, audio_channels=2, channels=channels)
    frames = frames_of(3, batch=2, dtype=torch.float32)
    expected = net.generate(frames, UniformNoise(2), temperature)
    assert expected.std() > 0.01
    generated = compiled(net).generate(frames, UniformNoise(2), temperature)
    # The mixture sums up changes from sample to sample, and so their roundings.
    torch.testing.assert_close(generated, expected, rtol=0, atol=2e-4 if distribution == "mu_law" else 4e-3)


def test_compiled_generation_treats_items_alike():
    net, frames = new_net(dtype=torch.float32), frames_of(3, batch=3, dtype=torch.float32)
    fast = compiled(net)
    assert torch.equal(
        fast.generate(frames, UniformNoise(3))[1:2], fast.generate(frames[1:2].contiguous(), UniformNoise(1))
    )


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_weights_in_bfloat16_are_computed_with_in_float32(distribution: str):
    net = new_net(distribution, dtype=torch.bfloat16)
    frames = frames_of(3, batch=2, dtype=torch.bfloat16)
    wide = copy.deepcopy(net).float()
    fast = compiled(net)
    conditions = fast.conditions(frames)
    noise = UniformNoise(2).next(HOP, 1, torch.device("cpu"))
    (from_bfloat16, from_float32) = (form.new_state(2).next(conditions, noise, 1.0) for form in (fast, compiled(wide)))
    torch.testing.assert_close(from_bfloat16, from_float32, rtol=0, atol=4e-3)  # scaled weights are rounded again


def test_there_are_no_kernels_for_other_dtypes():
    assert compiled_wavenet(new_net(dtype=torch.float64)) is None
