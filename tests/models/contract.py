"""What every variational family promises, whatever is inside; each family's test class inherits these tests."""

import copy
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from hf_audio_vae.modules.distributions import DiagonalGaussian
from tests.memory import working_bytes
from tests.models.inputs_contract import InputsContract
from tests.models.probes import (
    Decode,
    Encode,
    as_tuple,
    as_tuple_of,
    assert_equal_within_rounding,
    properties,
    seeded,
    shapes,
    with_and_without_checkpointing,
    wrong_tensors,
)
from tests.models.properties_contract import PropertiesContract
from tests.models.saved_contract import SavedContract
from tests.models.sharing_contract import SharingContract
from tests.models.statistics_contract import StatisticsContract

TILES = [(1, torch.float64), (2, torch.float64), (7, torch.float64), (7, torch.float32), (None, torch.float64)]


class AutoencoderContract(SavedContract, InputsContract, SharingContract, PropertiesContract, StatisticsContract):
    """The contract of a family that encodes waveforms into a `DiagonalGaussian` over latents.

    A subclass names its class, one tiny configuration with every key, another value for each key, and what has to
    change with it for some.
    """

    model_class: type
    config: dict[str, Any]
    other_values: dict[str, Any]
    changes_with: dict[str, dict[str, Any]] = {}
    training_only: tuple[str, ...] = ()  # keys that change the training alone
    fixed = {"latents_mean": None, "latents_std": None}

    def tiny_model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
        """Build a model whose every parameter is random, so that none hides behind a zero or a one."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = self.new({**self.config, **changes}).to(dtype).eval()
        generator = seeded()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
        return model

    def new(self, config: dict[str, Any]) -> Any:
        return self.model_class(**config)

    def waveform(self, time: int, batch: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
        shape = (batch, self.config["audio_channels"], time)
        return 0.3 * torch.randn(shape, generator=seeded(seed), dtype=dtype)

    def latents(self, model: Any, frames: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(batch, model.latent_channels, frames, generator=seeded(), dtype=dtype)

    def coded(self, model: Any, frames: int) -> Tensor:
        return self.latents(model, frames)

    # Words

    def test_numbers_of_the_latents_follow_from_each_other(self):
        model = self.tiny_model()
        z = model.encode(self.waveform(10 * model.hop_length)).latent_dist.mode()
        assert z.shape == (1, model.latent_channels, 10)
        assert model.sampling_rate == model.config.sampling_rate == self.config["sampling_rate"]
        assert model.frame_rate == model.sampling_rate / model.hop_length

    def test_there_are_no_codes_and_no_latents_of_codes(self):
        model = self.tiny_model()
        assert model.codebook_sizes == () and model.latents_of_codes(None) == ()

    @torch.no_grad()
    def test_the_terms_of_the_loss_are_those_that_the_model_names(self):
        model = self.tiny_model()
        named = {*model.reconstruction_terms, *model.regulariser_terms}
        assert set(model(self.waveform(9 * model.hop_length), generator=seeded()).losses) == named

    # Lengths

    @torch.no_grad()
    def test_output_length_equals_input_length(self):
        model = self.tiny_model()
        for time in range(1, 3 * model.hop_length + 2):
            x = self.waveform(time, batch=2)
            assert model(x).sample.shape == x.shape

    @pytest.mark.slow
    @torch.no_grad()
    def test_random_lengths_are_kept(self):
        model = self.tiny_model()
        generator, count = torch.Generator().manual_seed(0), 100 if model.decodes_sample_by_sample else 2000
        for time in torch.randint(1, 30 * model.hop_length, (count,), generator=generator).tolist():
            x = self.waveform(time)
            assert model(x).sample.shape == x.shape, time

    @torch.no_grad()
    def test_encode_counts_every_started_frame_and_decode_whole_frames(self):
        model = self.tiny_model()
        for time in range(1, 3 * model.hop_length + 2):
            z = model.encode(self.waveform(time)).latent_dist.mode()
            frames = -(-time // model.hop_length)
            assert z.shape[-1] == frames
            assert model.decode(z).sample.shape == (1, self.config["audio_channels"], frames * model.hop_length)

    @torch.no_grad()
    def test_encode_pads_with_zeros_on_the_right(self):
        model = self.tiny_model()
        x = self.waveform(2 * model.hop_length)
        x[..., -1] = 0
        padded, whole = model.encode(x[..., :-1]).latent_dist, model.encode(x).latent_dist
        assert torch.equal(padded.mean, whole.mean)
        assert torch.equal(padded.std, whole.std)

    # Posterior, outputs, generators

    @torch.no_grad()
    def test_kl_of_the_posterior_matches_torch_distributions(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(5 * model.hop_length, batch=2, dtype=torch.float64)
        posterior = model.encode(x).latent_dist
        zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        reference = kl_divergence(Normal(posterior.mean, posterior.std), Normal(zero, one))
        torch.testing.assert_close(posterior.kl(), reference, rtol=1e-12, atol=1e-12)
        nats_a_frame = reference.sum() / (2 * 5)
        torch.testing.assert_close(model(x).losses["kl"], nats_a_frame, rtol=1e-12, atol=0)

    @torch.no_grad()
    def test_return_dict_false_gives_the_same_in_a_tuple(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length)
        (posterior,) = model.encode(x, return_dict=False)
        assert isinstance(posterior, DiagonalGaussian)
        assert torch.equal(posterior.mean, model.encode(x).latent_dist.mean)
        (decoded,) = model.decode(posterior.mode(), return_dict=False)
        assert torch.equal(decoded, model.decode(posterior.mode()).sample)
        (reconstructed,) = model(x, return_dict=False)
        assert torch.equal(reconstructed, model(x).sample)

    @torch.no_grad()
    def test_forward_is_encode_then_decode(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length)
        posterior = model.encode(x).latent_dist
        assert torch.equal(model(x).sample, model.decode(posterior.mode()).sample)
        assert torch.equal(model(x).latent_dist.mean, posterior.mean)
        drawn = model(x, sample_posterior=True, generator=seeded(1)).sample
        assert torch.equal(drawn, model.decode(posterior.sample(seeded(1))).sample)
        assert not torch.equal(drawn, model(x, sample_posterior=True, generator=seeded(2)).sample)

    @torch.no_grad()
    def test_one_generator_an_item_makes_its_draw_its_own(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(3 * model.hop_length, batch=3, dtype=torch.float64)
        batch = model(x, sample_posterior=True, generator=[seeded(7), seeded(8), seeded(9)]).sample
        alone = model(x[1:2], sample_posterior=True, generator=[seeded(8)]).sample
        assert_equal_within_rounding(batch[1:2], alone)

    # Chunks

    @torch.no_grad()
    @pytest.mark.parametrize(("tile_frames", "dtype"), TILES)
    def test_chunked_encode_matches_whole(self, tile_frames, dtype):
        model = self.tiny_model(dtype)
        hop = model.hop_length
        for time in (1, hop, 2 * hop + 1, 30 * hop - 1, (2 * (tile_frames or 64) + 1) * hop + 1):
            x = self.waveform(time, batch=2, dtype=dtype)
            model.disable_tiling()
            whole = model.encode(x).latent_dist
            model.enable_tiling(tile_frames)
            chunked = model.encode(x).latent_dist
            assert_equal_within_rounding(chunked.mean, whole.mean)
            assert_equal_within_rounding(chunked.std, whole.std)

    @torch.no_grad()
    @pytest.mark.parametrize(("tile_frames", "dtype"), TILES)
    def test_chunked_decode_matches_whole(self, tile_frames, dtype):
        model = self.tiny_model(dtype)
        for frames in (1, 2, 30, 2 * (tile_frames or 64) + 2):
            z = self.latents(model, frames, batch=2, dtype=dtype)
            model.disable_tiling()
            whole = model.decode(z).sample
            model.enable_tiling(tile_frames)
            assert_equal_within_rounding(model.decode(z).sample, whole)

    @torch.no_grad()
    def test_default_chunks_are_exact_beyond_one_chunk(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(int(2.5 * model.default_tile_frames * model.hop_length) + 1, dtype=torch.float64)
        whole = model(x).sample
        model.enable_tiling()
        assert_equal_within_rounding(model(x).sample, whole)

    @torch.no_grad()
    def test_a_signal_read_piece_by_piece_has_the_same_posterior(self):
        model = self.tiny_model()
        x = self.waveform(300 * model.hop_length + 1, batch=2)
        whole = model.encode(x).latent_dist
        model.enable_tiling(16)
        longest = 0

        def read(start: int, stop: int) -> Tensor:
            nonlocal longest
            longest = max(longest, stop - start)
            return x[..., start:stop]

        pieces = list(model.encode_chunks(read, x.shape[-1]))
        assert [piece.mean.shape[-1] for piece in pieces] == 18 * [16] + [13]
        assert longest < x.shape[-1]
        assert_equal_within_rounding(torch.cat([piece.mean for piece in pieces], dim=-1), whole.mean)
        assert_equal_within_rounding(torch.cat([piece.std for piece in pieces], dim=-1), whole.std)
        with pytest.raises(ValueError, match=f"`waveform` has {x.shape[1] + 1} channels"):
            next(model.encode_chunks(lambda start, stop: x[:, [0, *range(x.shape[1])], start:stop], x.shape[-1]))

    @pytest.mark.slow
    def test_the_memory_of_encoding_in_chunks_does_not_grow(self):
        model = self.tiny_model()
        model.enable_tiling(8)
        for extra in (0, 1):  # a whole number of frames, and one sample more
            times = [frames * model.hop_length + extra for frames in (180, 540)]
            short, long = (working_bytes(Encode(model), self.waveform(time)) for time in times)
            assert long <= short

    @pytest.mark.slow
    def test_the_memory_of_decoding_in_chunks_does_not_grow(self):
        model = self.tiny_model()
        if model.decodes_whole_signals:
            pytest.skip("samples depend on the whole signal")
        model.enable_tiling(8)
        short, long = (working_bytes(Decode(model), self.latents(model, frames)) for frames in (180, 540))
        assert long <= short

    def test_a_chunk_of_no_frames_is_refused(self):
        with pytest.raises(ValueError, match=r"`tile_frames` is 0.*at least 1"):
            self.tiny_model().enable_tiling(0)

    # Disk, dtypes, copies

    @torch.no_grad()
    @pytest.mark.parametrize("max_shard_size", ["5GB", "4KB"])
    def test_loading_gives_back_what_was_saved(self, max_shard_size, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
        assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "4KB")
        loaded = self.model_class.from_pretrained(tmp_path)
        assert not loaded.training
        for name in self.config:
            assert as_tuple(getattr(loaded.config, name)) == self.config[name]
        state = model.state_dict()
        assert state.keys() == loaded.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in loaded.state_dict().items())
        x = self.waveform(3 * model.hop_length)
        assert torch.equal(loaded(x).sample, model(x).sample)

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_loads_and_stays_near(self, dtype, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        loaded = self.model_class.from_pretrained(tmp_path, torch_dtype=dtype)
        assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
        z = self.latents(model, 20)
        decoded = loaded.decode(z.to(dtype)).sample
        assert decoded.dtype == dtype
        expected = model.decode(z).sample
        # every layer of a tiny model rounds once or twice, some twenty roundings in a row
        assert (decoded.float() - expected).abs().max() < 20 * torch.finfo(dtype).eps * expected.abs().max()
        posterior = loaded.encode(self.waveform(9 * model.hop_length).to(dtype)).latent_dist
        assert posterior.mean.dtype == posterior.sample(seeded()).dtype == dtype
        assert posterior.kl().isfinite().all()

    @torch.no_grad()
    def test_a_model_can_be_copied_after_a_forward_pass(self):
        model = self.tiny_model().train()
        x = self.waveform(3 * model.hop_length)
        with torch.enable_grad():
            self.loss(model, x).backward()
        assert torch.equal(copy.deepcopy(model)(x).sample, model(x).sample)

    # Gradients

    def loss(self, model: Any, x: Tensor) -> Tensor:
        output = model(x, sample_posterior=True, generator=seeded())
        return (output.sample - x).square().mean() + 0.1 * output.losses["kl"]

    def test_gradient_reaches_every_parameter(self):
        model = self.tiny_model().train()
        self.loss(model, self.waveform(20 * model.hop_length, batch=2)).backward()
        unreached = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert unreached == []

    def test_gradient_checkpointing_stores_less_and_changes_no_gradient(self):
        x = self.waveform(20 * self.tiny_model().hop_length, dtype=torch.float64)
        plain, less = with_and_without_checkpointing(
            lambda: self.tiny_model(torch.float64), lambda model: self.loss(model, x)
        )
        assert less.stored < plain.stored / 2
        for name, gradient in plain.gradients.items():
            assert_equal_within_rounding(less.gradients[name], gradient)

    # Compilers

    def graphed(self, model: Any) -> list[tuple[torch.nn.Module, Callable[[int], Tensor]]]:
        """Return the directions that a graph holds, each with a function of a number of frames that returns inputs."""
        directions: dict[str, tuple[torch.nn.Module, Callable[[int], Tensor]]] = {
            "encoder": (Encode(model), lambda frames: self.waveform(frames * model.hop_length)),
            "decoder": (Decode(model), lambda frames: self.latents(model, frames)),
        }
        return [directions[name] for name in model.graph_parts()]

    @pytest.mark.slow
    @torch.no_grad()
    def test_encode_and_decode_compile_into_one_graph(self):
        for module, inputs in self.graphed(self.tiny_model()):
            compiled, x = torch.compile(module, backend="aot_eager", fullgraph=True), inputs(9)
            for actual, expected in zip(as_tuple_of(compiled(x)), as_tuple_of(module(x)), strict=True):
                assert_equal_within_rounding(actual, expected)

    @pytest.mark.slow
    @torch.no_grad()
    def test_encode_and_decode_export_with_a_dynamic_length(self):
        for module, inputs in self.graphed(self.tiny_model()):
            time = inputs(1).shape[2] * torch.export.Dim("frames", min=2, max=4096)
            exported = torch.export.export(module, (inputs(9),), dynamic_shapes=({2: time},)).module()
            for x in map(inputs, (4, 9, 31)):
                for actual, expected in zip(as_tuple_of(exported(x)), as_tuple_of(module(x)), strict=True):
                    assert_equal_within_rounding(actual, expected)

    @pytest.mark.slow
    @torch.no_grad()
    def test_the_whole_forward_pass_is_exported_posterior_included(self, tmp_path: Path):
        model = self.tiny_model()
        x = self.waveform(9 * model.hop_length)
        if "decoder" not in model.graph_parts():
            pytest.skip("no graph decodes")
        torch.export.save(torch.export.export(model, (x,)), tmp_path / "model.pt2")
        output, expected = torch.export.load(tmp_path / "model.pt2").module()(x), model(x)
        assert_equal_within_rounding(output.sample, expected.sample)
        assert_equal_within_rounding(output.latent_dist.kl(), expected.latent_dist.kl())

    # Batches

    @torch.no_grad()
    def test_an_item_does_not_depend_on_the_rest_of_its_batch(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(9 * model.hop_length, batch=3, dtype=torch.float64)
        x[0] *= 1000
        x[2] = 0
        batch, alone = model.encode(x).latent_dist, model.encode(x[1:2]).latent_dist
        assert_equal_within_rounding(batch.mean[1:2], alone.mean)
        assert_equal_within_rounding(batch.std[1:2], alone.std)
        decoded = model.decode(batch.mean).sample[1:2]
        assert_equal_within_rounding(decoded, model.decode(alone.mean).sample)

    @torch.no_grad()
    def test_slicing_equals_the_batch(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(9 * model.hop_length + 1, batch=3, dtype=torch.float64)
        batch = model.encode(x).latent_dist
        decoded = model.decode(batch.mean).sample
        model.enable_slicing()
        sliced = model.encode(x).latent_dist
        assert_equal_within_rounding(sliced.mean, batch.mean)
        assert_equal_within_rounding(sliced.std, batch.std)
        assert_equal_within_rounding(model.decode(batch.mean).sample, decoded)

    # Wrong inputs

    def test_a_wrong_waveform_is_refused_with_its_value_and_a_remedy(self):
        model = self.tiny_model()
        for wrong, value, remedy in wrong_tensors(self.waveform(3 * model.hop_length, batch=2)):
            for run in (model, model.encode):
                with pytest.raises(ValueError, match=f"`waveform`.*{re.escape(value)}.*{remedy}"):
                    run(wrong)

    def test_wrong_latents_are_refused_with_their_value_and_a_remedy(self):
        model = self.tiny_model()
        for wrong, value, remedy in wrong_tensors(self.latents(model, 5, batch=2)):
            with pytest.raises(ValueError, match=f"`latents`.*{re.escape(value)}.*{remedy}"):
                model.decode(wrong)

    def test_another_sampling_rate_is_refused(self):
        model = self.tiny_model()
        x = self.waveform(3 * model.hop_length)
        right = model.sampling_rate
        assert torch.equal(model.encode(x, sampling_rate=right).latent_dist.mean, model.encode(x).latent_dist.mean)
        with pytest.raises(ValueError, match=f"{right + 1} Hz.*{right} Hz; resample"):
            model.encode(x, sampling_rate=right + 1)

    def test_inputs_are_left_as_they_were(self):
        model = self.tiny_model()
        x, z = self.waveform(2 * model.hop_length + 1), self.latents(model, 3)
        x_before, z_before = x.clone(), z.clone()
        model(x)
        model.decode(z)
        assert torch.equal(x, x_before)
        assert torch.equal(z, z_before)

    # Configuration

    def test_the_signature_is_the_configuration(self):
        signature = inspect.signature(self.model_class.__init__).parameters
        keys = [name for name in signature if name != "self"]
        stored = {name for name in self.tiny_model().config if not name.startswith("_")}
        assert set(keys) == stored == self.config.keys() == self.other_values.keys()
        scalar = (int, float, bool, str, type(None))
        for key in keys:
            default = signature[key].default
            assert all(isinstance(value, scalar) for value in as_tuple_of(default)), key
            assert not isinstance(default, list), key

    @torch.no_grad()
    def test_every_key_changes_behaviour(self):
        model = self.tiny_model()
        for key in self.other_values.keys() - set(self.training_only):
            value = self.other_values[key]
            other = self.tiny_model(**{key: value, **self.changes_with.get(key, {})})
            if shapes(other) == shapes(model) and properties(other) == properties(model):
                other.load_state_dict(model.state_dict())
                x = self.waveform(9 * model.hop_length)
                theirs, ours = other(x), model(x)
                changes_std = not torch.equal(theirs.latent_dist.std, ours.latent_dist.std)
                assert changes_std or not torch.equal(theirs.sample, ours.sample), f"`{key}` changes nothing"
