"""What every family of codes promises, whatever is inside; each family's test class inherits these tests."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.memory import working_bytes
from tests.models.contract import assert_equal_within_rounding, seeded
from tests.models.inputs_contract import InputsContract
from tests.models.probes import (
    DecodeCodes,
    EncodeToCodes,
    equal_codes,
    levels_of,
    with_and_without_checkpointing,
    wrong_tensors,
)
from tests.models.properties_contract import PropertiesContract
from tests.models.saved_contract import SavedContract
from tests.models.sharing_contract import SharingContract


class CodecContract(SavedContract, InputsContract, SharingContract, PropertiesContract):
    """The contract of a family that encodes waveforms into codes: one tensor, or a tuple with one a level.

    A subclass names its class, its configuration's class and one tiny configuration with every key. Where a variant
    cannot keep a promise, it says so by an attribute.
    """

    model_class: type
    config_class: type
    config: dict[str, Any]
    flat_memory = True  # an LSTM over the frames holds all of them
    compiles = True  # dynamo does not trace an LSTM, and an exported one has a fixed length
    checkpointing_share = 0.7  # of the memory is left, at most; an LSTM is in no block
    shortest_export = 2  # frames; a mirrored signal has to be longer than its padding
    without_dropout: dict[str, Any] = {}  # configuration that trains every parameter at each step

    def tiny_model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
        """Build a model whose every parameter is random, so that none hides behind a zero or a one."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = self.model_class(self.config_class(**{**self.config, **changes})).to(dtype).eval()
        generator = seeded()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
        return model

    def waveform(self, time: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
        return 0.3 * torch.randn(batch, self.config["audio_channels"], time, generator=seeded(), dtype=dtype)

    def codes(self, model: Any, frames: int, batch: int = 1) -> Any:
        """Random codes as the model's `encode` returns them, of so many frames of the coarsest level."""
        lengths = [frames * model.hop_length // hop for hop in model.codebook_hop_lengths]
        sizes = zip(model.codebook_sizes, lengths, strict=True)
        codes = [torch.randint(size, (batch, 1, n), generator=seeded(size)) for size, n in sizes]
        return tuple(codes) if model.codes_by_level else torch.cat(codes, dim=1)

    def coded(self, model: Any, frames: int) -> Any:
        return self.codes(model, frames)

    # Words and lengths

    def test_numbers_of_the_codes_follow_from_each_other(self):
        model = self.tiny_model()
        codes = levels_of(model.encode(self.waveform(10 * model.hop_length)).audio_codes)
        assert all(level.dtype == torch.int64 for level in codes)
        assert sum(level.shape[1] for level in codes) == len(model.codebook_sizes) == len(model.codebook_hop_lengths)
        assert model.frame_rate == model.sampling_rate / model.hop_length
        assert model.hop_length == model.codebook_hop_lengths[-1]

    @torch.no_grad()
    def test_the_terms_of_the_loss_are_those_that_the_model_names(self):
        model = self.tiny_model()
        named = {*model.reconstruction_terms, *model.regulariser_terms}
        assert set(model(self.waveform(9 * model.hop_length)).losses) == named

    @torch.no_grad()
    def test_lengths_for_every_time(self):
        model = self.tiny_model()
        for time in range(1, 2 * model.hop_length + 2):
            x = self.waveform(time, batch=2)
            codes, output = model.encode(x).audio_codes, model(x)
            frames = -(-time // model.hop_length)
            assert [level.shape for level in levels_of(codes)] == [
                level.shape for level in levels_of(self.codes(model, frames, batch=2))
            ]
            assert model.decode(codes).audio_values.shape == (*x.shape[:2], frames * model.hop_length)
            assert output.audio_values.shape == x.shape
            assert all(reconstruction.shape == x.shape for reconstruction in output.reconstructions)

    @torch.no_grad()
    def test_the_latents_of_codes_are_what_the_decoder_reads(self):
        model = self.tiny_model()
        codes = self.codes(model, 5, batch=2)
        latents = model.latents_of_codes(codes)
        assert [(len(level), level.shape[-1]) for level in latents] == [
            (len(level), level.shape[-1]) for level in levels_of(codes)
        ]
        read = model.decodings()[0].before([codes[0]] if model.codes_by_level else codes)
        assert torch.equal(latents[0], read[0] if model.codes_by_level else read)
        assert all(level.std() > 0 for level in latents)

    @torch.no_grad()
    def test_encode_pads_with_zeros_on_the_right(self):
        model = self.tiny_model()
        x = self.waveform(7 * model.hop_length)
        x[..., -1] = 0
        assert equal_codes(model.encode(x[..., :-1]).audio_codes, model.encode(x).audio_codes)

    @torch.no_grad()
    def test_sounds_that_differ_have_codes_that_differ(self):
        # Else nothing here could see a code that is wrong.
        for level in levels_of(self.tiny_model().encode(self.waveform(2400)).audio_codes):
            assert all(level[:, codebook].unique().numel() > 2 for codebook in range(level.shape[1]))

    # Encode, decode, forward

    @torch.no_grad()
    def test_forward_is_encode_then_decode(self):
        model = self.tiny_model()
        x = self.waveform(9 * model.hop_length - 1, batch=2)
        output, codes = model(x), model.encode(x).audio_codes
        assert equal_codes(output.audio_codes, codes)
        assert torch.equal(output.audio_values, model.decode(codes).audio_values[..., : x.shape[-1]])
        assert output.sample is output.audio_values

    @torch.no_grad()
    def test_return_dict_false_gives_the_same_in_a_tuple(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length)
        (codes,) = model.encode(x, return_dict=False)
        (audio,) = model.decode(codes, return_dict=False)
        output = model(x, return_dict=False)
        assert equal_codes(codes, model.encode(x).audio_codes)
        assert torch.equal(audio, model.decode(codes).audio_values)
        assert torch.equal(output[0], model(x).audio_values)
        assert len(output) == len(model(x).to_tuple())

    @torch.no_grad()
    def test_codes_stored_in_smaller_integers_decode_to_the_same_sound(self):
        model = self.tiny_model()
        codes = self.codes(model, 9, batch=2)
        expected = model.decode(codes).audio_values
        for dtype in (torch.uint8, torch.uint16, torch.int16, torch.int32):
            stored = tuple(level.to(dtype) for level in levels_of(codes))
            assert torch.equal(model.decode(stored if model.codes_by_level else stored[0]).audio_values, expected)

    def test_encoding_in_training_mode_teaches_no_codebook(self):
        model = self.tiny_model().train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        codes = model.encode(self.waveform(9 * model.hop_length)).audio_codes
        model.decode(codes)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

    # Chunks

    @torch.no_grad()
    @pytest.mark.parametrize("tile_frames", [1, 7, None])
    def test_chunked_coding_matches_whole(self, tile_frames):
        model = self.tiny_model(torch.float64)
        hop = model.hop_length
        for time in (1, 2 * hop + 1, (2 * (tile_frames or 32) + 5) * hop - 1):
            x = self.waveform(time, batch=2, dtype=torch.float64)
            model.disable_tiling()
            codes = model.encode(x).audio_codes
            audio, whole = model.decode(codes).audio_values, model(x)
            model.enable_tiling(tile_frames)
            assert equal_codes(model.encode(x).audio_codes, codes)
            assert_equal_within_rounding(model.decode(codes).audio_values, audio)
            for actual, expected in zip(model(x).reconstructions, whole.reconstructions, strict=True):
                assert_equal_within_rounding(actual, expected)

    @torch.no_grad()
    def test_default_chunks_are_exact_beyond_one_chunk(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(int(1.5 * model.default_tile_frames * model.hop_length) + 1, dtype=torch.float64)
        whole = model(x)
        model.enable_tiling()
        assert equal_codes(model.encode(x).audio_codes, whole.audio_codes)
        assert_equal_within_rounding(model.decode(whole.audio_codes).audio_values[..., : x.shape[-1]], whole.sample)

    @pytest.mark.slow
    def test_the_memory_of_coding_in_chunks_does_not_grow(self):
        if not self.flat_memory:
            pytest.skip("an LSTM holds all frames")
        model = self.tiny_model()
        model.enable_tiling(8)
        times = [frames * model.hop_length for frames in (60, 240)]
        short, long = (working_bytes(EncodeToCodes(model), self.waveform(time)) for time in times)
        assert long <= short
        decoded = [self.codes(model, frames) for frames in (60, 240)]
        short, long = (working_bytes(lambda _, codes=codes: DecodeCodes(model)(codes), codes[0]) for codes in decoded)
        assert long <= short

    def test_a_chunk_of_no_frames_is_refused(self):
        with pytest.raises(ValueError, match=r"`tile_frames` is 0.*at least 1"):
            self.tiny_model().enable_tiling(0)

    # Batches and padding

    @torch.no_grad()
    @pytest.mark.parametrize("tiled", [False, True])
    def test_an_item_in_a_padded_batch_is_what_it_is_alone(self, tiled):
        model = self.tiny_model(torch.float64)
        if tiled:
            model.enable_tiling(3)
        hop = model.hop_length
        lengths = [9 * hop, 4 * hop - 1, 4 * hop, 1]
        x = self.waveform(9 * hop, batch=4, dtype=torch.float64)
        mask = torch.arange(9 * hop) < torch.tensor(lengths)[:, None]
        x[1, :, lengths[1]] = torch.nan  # what is padding does not matter
        encoded, output = model.encode(x, mask), model(x, mask[:, None])
        decoded = model.decode(encoded.audio_codes, encoded.audio_codes_mask).audio_values
        assert equal_codes(output.audio_codes, encoded.audio_codes)
        assert equal_codes(output.audio_codes_mask, encoded.audio_codes_mask)
        for item, length in enumerate(lengths):
            alone = x[item : item + 1, :, :length]
            codes, expected = model.encode(alone).audio_codes, model(alone)
            levels = levels_of(encoded.audio_codes), levels_of(encoded.audio_codes_mask), levels_of(codes)
            for batch, valid, own in zip(*levels, strict=True):
                frames = own.shape[-1]
                assert torch.equal(batch[item : item + 1, :, :frames], own)
                assert not batch[item, :, frames:].any()
                assert valid[item].tolist() == [True] * frames + [False] * (valid.shape[1] - frames)
            for actual, whole in zip(output.reconstructions, expected.reconstructions, strict=True):
                assert_equal_within_rounding(actual[item : item + 1, :, :length], whole)
                assert not actual[item, :, length:].any()
            audio = model.decode(codes).audio_values
            assert_equal_within_rounding(decoded[item : item + 1, :, : audio.shape[-1]], audio)
            assert not decoded[item, :, audio.shape[-1] :].any()

    @torch.no_grad()
    def test_padding_is_in_no_loss(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(9 * model.hop_length, dtype=torch.float64)
        mask = torch.arange(x.shape[-1])[None] < 4 * model.hop_length
        padded, alone = model(x, mask).losses, model(x[..., : 4 * model.hop_length]).losses
        assert padded.keys() == alone.keys()
        for name, value in alone.items():
            assert_equal_within_rounding(padded[name], value)

    def test_a_wrong_mask_is_refused(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length, batch=2)
        right = torch.ones(2, x.shape[-1], dtype=torch.bool)
        left, silent, other = right.clone(), right.clone(), right.long()
        left[1, 0] = False
        silent[1] = False
        other[0, 0] = 2
        for wrong, message in (
            (right[:, 1:], "has shape"),
            (left, "on the right only"),
            (silent, r"all of the items \[1\]"),
            (other, "other than 0 and 1"),
        ):
            with pytest.raises(ValueError, match=f"`padding_mask`.*{message}"):
                model.encode(x, wrong)

    # Disk, dtypes, copies

    @torch.no_grad()
    @pytest.mark.parametrize("max_shard_size", ["5GB", "4KB"])
    def test_loading_gives_back_what_was_saved(self, max_shard_size, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "4KB")
        for options in ({}, {"device_map": "cpu"}, {"device_map": "auto"}):
            loaded = self.model_class.from_pretrained(tmp_path, **options)
            assert not loaded.training
            assert {name: getattr(loaded.config, name) for name in self.config} == self.config
            state = model.state_dict()
            assert state.keys() == loaded.state_dict().keys()
            assert all(torch.equal(state[name], value) for name, value in loaded.state_dict().items())
        x = self.waveform(3 * model.hop_length)
        assert torch.equal(loaded(x).audio_values, model(x).audio_values)

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_loads_and_stays_near(self, dtype, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        loaded = self.model_class.from_pretrained(tmp_path, dtype=dtype)
        codes = self.codes(model, 20)
        decoded, expected = loaded.decode(codes).audio_values, model.decode(codes).audio_values
        assert decoded.dtype == dtype
        # every layer of a tiny model rounds a few times, some forty roundings in a row
        assert (decoded.float() - expected).abs().max() < 40 * torch.finfo(dtype).eps * expected.abs().max()
        x = self.waveform(9 * model.hop_length).to(dtype)
        assert levels_of(loaded.encode(x).audio_codes)[-1].shape == levels_of(self.codes(model, 9))[-1].shape
        assert all(value.isfinite() for value in loaded(x).losses.values())

    def test_a_model_can_be_copied_after_a_forward_pass(self):
        model = self.tiny_model().train()
        x = self.waveform(3 * model.hop_length)
        model(x).audio_values.sum().backward()
        model.eval()
        assert torch.equal(copy.deepcopy(model)(x).audio_values, model(x).audio_values)

    # Gradients

    def loss(self, model: Any, x: Tensor) -> Tensor:
        output = model(x, generator=seeded())
        distances = sum((reconstruction - x).square().mean() for reconstruction in output.reconstructions)
        return distances + sum(output.losses.values())

    def test_gradient_reaches_every_parameter(self):
        model = self.tiny_model(**self.without_dropout).train()
        self.loss(model, self.waveform(60 * model.hop_length, batch=2)).backward()
        unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert unreached == []

    def test_a_frozen_encoder_leaves_the_codes_as_they_are(self):
        model = self.tiny_model()
        model.freeze_encoder()
        model.train()
        before = {name: value.clone() for name, value in model.state_dict().items() if "decoder" not in name}
        self.loss(model, self.waveform(20 * model.hop_length)).backward()
        state = model.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in before.items())
        assert all((p.grad is not None) == name.startswith("decoder") for name, p in model.named_parameters())

    def test_gradient_checkpointing_stores_less_and_changes_no_gradient(self):
        x = self.waveform(60 * self.tiny_model().hop_length, dtype=torch.float64)
        plain, less = with_and_without_checkpointing(
            lambda: self.tiny_model(torch.float64), lambda model: self.loss(model, x)
        )
        assert less.stored < self.checkpointing_share * plain.stored
        for name, gradient in plain.gradients.items():
            if gradient is not None:
                assert_equal_within_rounding(less.gradients[name], gradient)

    # Compilers

    @pytest.mark.slow
    @torch.no_grad()
    def test_encode_and_decode_compile_into_one_graph(self):
        model = self.tiny_model(torch.float64)
        x, codes = self.waveform(9 * model.hop_length, dtype=torch.float64), self.codes(model, 9)
        with torch._dynamo.config.patch(allow_rnn=not self.compiles):
            encode = torch.compile(EncodeToCodes(model), backend="aot_eager", fullgraph=True)
            decode = torch.compile(DecodeCodes(model), backend="aot_eager", fullgraph=True)
            assert equal_codes(encode(x), EncodeToCodes(model)(x))
            assert_equal_within_rounding(decode(codes), DecodeCodes(model)(codes))

    @pytest.mark.slow
    @torch.no_grad()
    def test_encode_and_decode_export_with_a_dynamic_length(self):
        if not self.compiles:
            pytest.skip("torch exports an LSTM for one length only")
        model = self.tiny_model(torch.float64)
        hop, frames = model.hop_length, torch.export.Dim("frames", min=self.shortest_export, max=1000)
        x, codes = self.waveform(9 * hop, dtype=torch.float64), self.codes(model, 9)
        encode = torch.export.export(EncodeToCodes(model), (x,), dynamic_shapes=({2: hop * frames},)).module()
        rates = [model.hop_length // (model.hop_length * 9 // level.shape[-1]) for level in levels_of(codes)]
        shapes = tuple({2: rate * frames} for rate in rates)
        decode = torch.export.export(
            DecodeCodes(model), (codes,), dynamic_shapes=(shapes if model.codes_by_level else shapes[0],)
        ).module()
        for count in (self.shortest_export, 9, 31):
            x, codes = self.waveform(count * hop, dtype=torch.float64), self.codes(model, count)
            assert equal_codes(encode(x), EncodeToCodes(model)(x))
            assert_equal_within_rounding(decode(codes), DecodeCodes(model)(codes))

    # Wrong inputs

    def test_a_wrong_waveform_is_refused_with_its_value_and_a_remedy(self):
        model = self.tiny_model()
        for wrong, value, remedy in wrong_tensors(self.waveform(3 * model.hop_length, batch=2)):
            for run in (model, model.encode):
                with pytest.raises(ValueError, match=f"`waveform`.*{re.escape(value)}.*{remedy}"):
                    run(wrong)

    def test_another_sampling_rate_is_refused(self):
        model = self.tiny_model()
        x, right = self.waveform(3 * model.hop_length), model.sampling_rate
        assert equal_codes(model.encode(x, sampling_rate=right).audio_codes, model.encode(x).audio_codes)
        with pytest.raises(ValueError, match=f"{right + 1} Hz.*{right} Hz; resample"):
            model.encode(x, sampling_rate=right + 1)
