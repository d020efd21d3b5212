import re
from typing import Any

import pytest
import torch

from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE
from hf_audio_vae.modules.quantization import QUANTIZERS, Quantizer, QuantizerOutput
from tests.dependence import clipped, inputs_read
from tests.models.codec_contract import CodecContract
from tests.models.contract import assert_equal_within_rounding, seeded
from tests.models.probes import shapes, spread_latents

LIKE_DAC = {
    "audio_channels": 1,
    "sampling_rate": 8000,
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 16,
    "downsampling_ratios": (2, 3),
    "hidden_size": 16,
    "activation": "snake",
    "kernel_size": 7,
    "encoder_last_kernel_size": 3,
    "decoder_last_kernel_size": 7,
    "residual_kernel_size": 7,
    "residual_dilations": (1, 3),
    "residual_compression": 1,
    "residual_shortcut": False,
    "norm": "weight_norm",
    "causal": False,
    "pad_mode": "constant",
    "num_lstm_layers": 0,
    "final_tanh": True,
    "normalize": False,
    "num_codebooks": 2,
    "codebook_size": 8,
    "codebook_dim": 4,
    "cosine": True,
    "codebook_learning": "gradient",
    "ema_decay": 0.99,
    "restart_share": None,
    "kmeans_start": False,
    "quantizer_dropout": 0.5,
    "rotation_trick": False,
    "fsq_levels": None,
    "quantizer": None,
    "quantizer_options": None,
    "stft_options": None,
}
LIKE_ENCODEC = {
    **LIKE_DAC,
    "audio_channels": 2,
    "downsampling_ratios": (2, 2),
    "activation": "elu",
    "encoder_last_kernel_size": 7,
    "residual_kernel_size": 3,
    "residual_dilations": (1,),
    "residual_compression": 2,
    "residual_shortcut": True,
    "causal": True,
    "pad_mode": "reflect",
    "num_lstm_layers": 1,
    "final_tanh": False,
    "codebook_dim": None,
    "cosine": False,
    "codebook_learning": "ema",
    "restart_share": 0.05,
    "kmeans_start": True,
}


class _WaveformVQVAE(CodecContract):
    model_class = WaveformVQVAE
    config_class = WaveformVQVAEConfig
    without_dropout = {"quantizer_dropout": 0.0}
    choices = {
        "activation": ("snake", "elu"),
        "norm": ("time_group_norm",),
        "pad_mode": ("constant", "reflect"),
        "codebook_dim": (None, 1, 4),
        "codebook_learning": ("gradient", "ema"),
    }

    def tiny_model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> WaveformVQVAE:
        model = super().tiny_model(dtype, **changes)
        if model.config.norm == "weight_norm":
            last = model.encoder.conv2
            x = self.waveform(100 * model.hop_length, dtype=dtype)
            spread_latents(model.encoder, last.weight_g.data, last.bias.data, x)
        return model

    def test_the_bitrate_is_that_of_all_codebooks(self):
        model = self.tiny_model()
        assert model.num_codebooks == len(model.codebook_sizes)
        bits = torch.tensor(model.codebook_sizes, dtype=torch.float64).log2().sum().item()
        assert model.bits_per_second == pytest.approx(model.frame_rate * bits, rel=1e-12)

    @torch.no_grad()
    def test_the_first_codebooks_are_a_prefix(self):
        model = self.tiny_model()
        x = self.waveform(9 * model.hop_length)
        codes = model.encode(x).audio_codes
        for count in range(1, model.num_codebooks + 1):
            assert torch.equal(model.encode(x, num_codebooks=count).audio_codes, codes[:, :count])
            output = model(x, num_codebooks=count)
            assert_equal_within_rounding(output.audio_values, model.decode(codes[:, :count]).audio_values)
        for count in (0, model.num_codebooks + 1):
            with pytest.raises(ValueError, match=f"`num_codebooks` is {count}"):
                model.encode(x, num_codebooks=count)

    def test_wrong_codes_are_refused_with_their_value_and_a_remedy(self):
        model = self.tiny_model()
        right = self.codes(model, 5, batch=2)
        high, low = right.clone(), right.clone()
        high[1, -1, 2] = model.codebook_sizes[-1]
        low[0, 0, 0] = -1
        count = model.num_codebooks + 1
        for wrong, value, remedy in (
            (right[0], str(tuple(right.shape[1:])), "dimensions"),
            (right.float(), "torch.float32", "int64"),
            (torch.cat([right, right[:, :1]], dim=1), f"{count} codebooks", f"load a {count}-codebook model"),
            (right[..., :0], str((*right.shape[:2], 0)), "every dimension has to be 1 or more"),
            (high, f"holds {model.codebook_sizes[-1]}", "leave out"),
            (low, "holds -1", "leave out"),
        ):
            with pytest.raises(ValueError, match=f"`audio_codes`.*{re.escape(value)}.*{remedy}"):
                model.decode(wrong)

    def test_a_wrong_mask_of_codes_is_refused(self):
        model = self.tiny_model()
        mask = torch.ones(2, 3 * model.hop_length, dtype=torch.bool)
        with pytest.raises(ValueError, match="`audio_codes_mask` has shape"):
            model.decode(self.codes(model, 5, batch=2), mask)


class TestWaveformVQVAELikeDac(_WaveformVQVAE):
    config = LIKE_DAC


class TestWaveformVQVAELikeEncodec(_WaveformVQVAE):
    config = LIKE_ENCODEC
    flat_memory = False
    compiles = False
    checkpointing_share = 0.95


class TestMirroredWaveformVQVAE(_WaveformVQVAE):
    config = {**LIKE_DAC, "downsampling_ratios": (3, 2), "pad_mode": "reflect", "rotation_trick": True}
    config |= {"residual_dilations": (1,), "num_codebooks": 3}
    shortest_export = 5


class TestShortTimeWaveformVQVAE(_WaveformVQVAE):
    fixed = {
        "downsampling_ratios": (4, 3),
        "stft_options": {"hidden_sizes": [6, 8], "num_blocks": [2, 1], "window_length": 16, "expansion": 2.0},
    }
    config = LIKE_DAC | fixed

    def tiny_model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> WaveformVQVAE:
        model = CodecContract.tiny_model(self, dtype, **changes)
        last = model.encoder.project
        x = self.waveform(100 * model.hop_length, dtype=dtype)
        spread_latents(model.encoder, last.weight.data[..., None], last.bias.data, x)
        return model


class TestFiniteScalarWaveformVQVAE(_WaveformVQVAE):
    fixed = {"fsq_levels": (4, 3, 5), "num_codebooks": 1, "codebook_size": 60}
    config = {**LIKE_DAC, "fsq_levels": (4, 3, 5), "num_codebooks": 1, "codebook_size": 60}
    config |= {"residual_dilations": (1,)}


def tiny(**changes: object) -> WaveformVQVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WaveformVQVAE(WaveformVQVAEConfig(**{**LIKE_DAC, **changes})).double().eval()


def noise(*shape: int) -> torch.Tensor:
    return 0.3 * torch.randn(shape, generator=seeded(), dtype=torch.float64)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize(("strides", "causal"), [((2, 4), False), ((3, 5), False), ((3, 2), True)])
def test_input_spans_of_encoder_and_decoder_are_exact(strides, causal, pad_mode):
    model = tiny(downsampling_ratios=strides, causal=causal, pad_mode=pad_mode, activation="elu")
    hop = model.hop_length
    first, last = model.encoder.input_span(10**6, 10**6 + 1)
    frames = 2 * (last - first) // hop + 20
    x, z = noise(1, 1, frames * hop), noise(1, 16, frames)
    for start, stop in [(0, 1), (1, 3), (frames // 2, frames // 2 + 1), (0, frames)]:
        span = clipped(model.encoder.input_span(start, stop), frames * hop)
        assert inputs_read(model.encoder, x, start, stop) == span
        samples = (start * hop, stop * hop)
        assert inputs_read(model.decoder, z, *samples) == clipped(model.decoder.input_span(*samples), frames)


@torch.no_grad()
def test_loudness_is_divided_out_and_multiplied_back():
    model = tiny(normalize=True, final_tanh=False, audio_channels=2)
    x = noise(2, 2, 9 * model.hop_length)
    x[1] = 1000 * x[0]
    encoded = model.encode(x)
    assert torch.equal(encoded.audio_codes[0], encoded.audio_codes[1])
    root_mean_square = x.mean(dim=1).square().mean(dim=1, keepdim=True).sqrt()
    torch.testing.assert_close(encoded.audio_scales, root_mean_square, rtol=1e-6, atol=1e-8)
    audio = model.decode(encoded.audio_codes, audio_scales=encoded.audio_scales).audio_values
    assert torch.equal(audio, model(x).audio_values)
    assert_equal_within_rounding(audio[1] / encoded.audio_scales[1], audio[0] / encoded.audio_scales[0])


@torch.no_grad()
def test_the_loudness_of_padding_does_not_count():
    model = tiny(normalize=True)
    x = noise(2, 1, 9 * model.hop_length)
    mask = torch.arange(x.shape[-1]) < torch.tensor([[x.shape[-1]], [20]])
    padded, alone = model.encode(x, mask), model.encode(x[1:, :, :20])
    assert_equal_within_rounding(padded.audio_scales[1:], alone.audio_scales)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_silence_and_quiet_sounds_are_normalized_in_half_precision(dtype):
    model = tiny(normalize=True, final_tanh=False).to(dtype)
    loud = noise(1, 1, 40 * model.hop_length)
    x = torch.cat([loud, 1e-4 * loud, 0 * loud]).to(dtype)
    encoded = model.encode(x)
    expected = x.double().square().mean(dim=(1, 2)).sqrt()
    torch.testing.assert_close(encoded.audio_scales[:, 0].double(), expected, rtol=1e-3, atol=2e-8)
    audio = model.decode(encoded.audio_codes, audio_scales=encoded.audio_scales).audio_values
    assert audio.dtype == dtype
    assert audio.isfinite().all()
    assert torch.equal(audio, model(x).audio_values)
    assert audio[1].abs().max() > 1e-6
    assert audio[2].abs().max() < 1e-6


def test_scales_go_with_the_models_that_make_them():
    codes = torch.zeros(2, 2, 4, dtype=torch.int64)
    with pytest.raises(ValueError, match="takes no `audio_scales`"):
        tiny().decode(codes, audio_scales=torch.ones(2, 1))
    with pytest.raises(ValueError, match="needs `audio_scales`"):
        tiny(normalize=True).decode(codes)
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(2, 1\)"):
        tiny(normalize=True).decode(codes, audio_scales=torch.ones(2))


@pytest.mark.parametrize("lacking", [("updates",), ("updates", "counts", "sums")])
@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_codebooks_of_a_checkpoint_without_updates_do_not_start_over(learning, lacking, tmp_path):
    changes = {"codebook_learning": learning, "kmeans_start": True, "cosine": False, "ema_decay": 1 - 1e-6}
    model = tiny(**changes).train()
    x = noise(2, 1, 40 * model.hop_length)
    model(x)
    state = {name: value for name, value in model.state_dict().items() if name.rpartition(".")[2] not in lacking}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded = WaveformVQVAE.from_pretrained(tmp_path)
    codebooks = [quantizer.codebook for quantizer in loaded.quantizer.quantizers]
    assert [int(codebook.updates) for codebook in codebooks] == [1, 1]
    before = [codebook.vectors.detach().clone() for codebook in codebooks]
    loaded.train()(-x.to(loaded.dtype), generator=seeded())
    for codebook, vectors in zip(codebooks, before, strict=True):
        torch.testing.assert_close(codebook.vectors, vectors, rtol=0, atol=1e-3 * float(vectors.abs().max()))


@torch.no_grad()
def test_group_norm_codes_an_item_as_alone_but_not_in_chunks():
    model = tiny(norm="time_group_norm")
    x = noise(2, 1, 9 * model.hop_length)
    mask = torch.arange(x.shape[-1]) < torch.tensor([[x.shape[-1]], [20]])
    frames = -(-20 // model.hop_length)
    codes = model.encode(x, mask).audio_codes[1:, :, :frames]
    assert torch.equal(codes, model.encode(x[1:, :, :20]).audio_codes)
    with pytest.raises(ValueError, match="use a model with weight norm"):
        model.enable_tiling()


OTHER_VALUES = {
    "audio_channels": 2,
    "sampling_rate": 16000,
    "encoder_hidden_size": 5,
    "decoder_hidden_size": 20,
    "downsampling_ratios": (3, 2),
    "hidden_size": 12,
    "activation": "elu",
    "kernel_size": 5,
    "encoder_last_kernel_size": 5,
    "decoder_last_kernel_size": 5,
    "residual_kernel_size": 5,
    "residual_dilations": (1, 2),
    "residual_compression": 2,
    "residual_shortcut": True,
    "norm": "time_group_norm",
    "causal": True,
    "pad_mode": "reflect",
    "num_lstm_layers": 2,
    "final_tanh": False,
    "normalize": True,
    "num_codebooks": 3,
    "codebook_size": 16,
    "codebook_dim": 5,
    "cosine": False,
    "codebook_learning": "ema",
    "ema_decay": 0.5,
    "restart_share": 0.99,
    "kmeans_start": True,
    "quantizer_dropout": 0.0,
    "rotation_trick": True,
    "fsq_levels": (3, 4),
    "quantizer": "residual_vector",
    "quantizer_options": {"num_codebooks": 3, "codebook_size": 16},
    "stft_options": {"hidden_sizes": [4, 4], "num_blocks": [1, 1], "window_length": 8},
}


class SignQuantizer(Quantizer):
    """A quantizer that only this file knows: the sign of each channel's mean over the others is the code."""

    def __init__(self, channels: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return (2,)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64

    def _quantize(self, latents, mask, count, generator):
        codes, _ = self._search(latents, count)
        return QuantizerOutput(latents + (self._look_up(codes) - latents).detach(), codes)

    def _search(self, latents, count):
        codes = (latents.mean(dim=1, keepdim=True) > 0).long()
        return codes, latents.isfinite().all(dim=1)

    def _look_up(self, codes):
        return self.scale * (2.0 * codes - 1).to(self.dtype).expand(-1, self.channels, -1)


def test_a_new_quantizer_is_one_line_in_the_table_of_quantizers(monkeypatch, tmp_path):
    monkeypatch.setitem(QUANTIZERS, "sign", SignQuantizer)
    model = tiny(quantizer="sign", quantizer_options={"scale": 0.5})
    x = noise(1, 1, 9 * model.hop_length)
    assert model.codebook_sizes == (2,)
    output = model.train()(x)
    output.audio_values.sum().backward()
    assert model.encoder.conv1.weight_v.grad.any()
    assert torch.equal(output.audio_codes, model.eval().encode(x).audio_codes)
    model.save_pretrained(tmp_path)
    again = WaveformVQVAE.from_pretrained(tmp_path, dtype=torch.float64)
    assert again.quantizer.scale == 0.5
    assert torch.equal(again(x).audio_values, model(x).audio_values)


def trained(**changes: object) -> tuple[dict[str, torch.Size], list[torch.Tensor], int]:
    """What two steps of training make of a model: its shapes, its gradients, outputs and codebooks, its rate."""
    model = tiny(**changes).train()
    x = noise(2, model.config.audio_channels, 40 * model.hop_length)
    for _ in range(2):
        output = model(x, generator=seeded())
    (output.audio_values.square().mean() + sum(output.losses.values())).backward()
    results = [output.audio_values, *(p.grad for p in model.parameters()), *model.quantizer.state_dict().values()]
    return shapes(model), results, model.sampling_rate


def test_every_key_changes_behaviour():
    assert OTHER_VALUES.keys() == LIKE_DAC.keys() == set(WaveformVQVAEConfig.__annotations__) - {"model_type"}
    known_shapes, known, known_rate = trained()
    for key, value in OTHER_VALUES.items():
        changes = {key: value}
        if key == "fsq_levels":
            changes |= {"num_codebooks": 1, "codebook_size": 12}
        if key == "quantizer_options":
            changes |= {"quantizer": "residual_vector"}
        their_shapes, results, rate = trained(**changes)
        if their_shapes == known_shapes and rate == known_rate:
            pairs = zip(results, known, strict=True)
            same = all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)
            assert not same, f"`{key}` changes nothing"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_channels": 0}, "`audio_channels` is 0"),
        ({"downsampling_ratios": (2, 0)}, r"`downsampling_ratios` is \(2, 0\)"),
        ({"downsampling_ratios": ()}, "`downsampling_ratios` has 0 numbers"),
        ({"num_lstm_layers": -1}, "`num_lstm_layers` is -1"),
        ({"decoder_hidden_size": 3}, "`decoder_hidden_size` 3 leaves 0"),
        ({"residual_compression": 5}, "`residual_compression` of 5"),
        ({"stft_options": {"hidden_size": 4}}, "`stft_options` are .*'hidden_size'"),
        ({"stft_options": {"hidden_sizes": [4], "num_blocks": [1]}}, "differ in length"),
        ({"activation": "relu"}, "'relu'; use one of"),
        ({"norm": "time_group_norm", "causal": True}, "cannot be `causal`"),
        ({"quantizer_dropout": 1.5}, "between 0 and 1"),
        ({"codebook_dim": 0}, "`codebook_dim` is 0"),
        ({"codebook_size": 1}, "`codebook_size` is 1"),
        ({"ema_decay": 1.0}, "`ema_decay` is 1.0"),
        ({"ema_decay": -0.1}, "`ema_decay` is -0.1"),
        ({"restart_share": 0.0}, "`restart_share` is 0.0"),
        ({"restart_share": 1.0}, "`restart_share` is 1.0"),
        ({"quantizer": "lookup_free"}, "`quantizer` is 'lookup_free'; use one of residual_vector, finite_scalar"),
        ({"quantizer_options": {"levels": (3,)}}, "name the `quantizer`"),
        ({"fsq_levels": (4, 2)}, r"`fsq_levels` is \(4, 2\); give 3"),
        ({"fsq_levels": (4, 4)}, "set them to 1 and 16"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        WaveformVQVAEConfig(**{**LIKE_DAC, **changes})
