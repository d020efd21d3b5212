import io
import re
from typing import Any

import accelerate
import pytest
import torch
from torch import Tensor

from hf_audio_vae import WaveVAE, WaveVAEConfig
from hf_audio_vae.models.wave_vae import modeling_wave_vae
from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from tests.models.contract import AutoencoderContract
from tests.models.probes import Decode, seeded


class TestWaveVAE(AutoencoderContract):
    model_class = WaveVAE
    config_class = WaveVAEConfig
    config = {
        "audio_channels": 2,
        "sampling_rate": 8000,
        "downsampling_ratios": (2, 3),
        "window_length": 8,
        "hidden_size": 6,
        "unit_dilations": (1, 2),
        "latent_channels": 3,
        "residual_channels": 4,
        "skip_channels": 5,
        "num_stacks": 2,
        "layers_per_stack": 3,
        "distribution": "logistic_mixture",
        "num_components": 3,
        "past_dropout": 0.5,
        "nll_share": 0.5,
        "stft_options": None,
        "latents_mean": (0.5, -1.0, 2.0),
        "latents_std": (1.0, 2.0, 0.5),
    }
    other_values = {
        "audio_channels": 1,
        "sampling_rate": 16000,
        "downsampling_ratios": (3, 2),
        "window_length": 6,
        "hidden_size": 7,
        "unit_dilations": (1,),
        "latent_channels": 2,
        "residual_channels": 5,
        "skip_channels": 6,
        "num_stacks": 1,
        "layers_per_stack": 2,
        "distribution": "mu_law",
        "num_components": 4,
        "past_dropout": 0.0,
        "nll_share": 1.0,
        "stft_options": {"hidden_sizes": [5, 6], "num_blocks": [1, 1]},
        "latents_mean": (1.0, 2.0, 3.0),
        "latents_std": (1.0, 2.0, 3.0),
    }
    training_only = ("past_dropout", "nll_share")
    distributions: tuple[str, ...] = tuple(DISTRIBUTIONS)
    changes_with = {"latent_channels": {"latents_mean": None, "latents_std": None}}

    def new(self, config: dict[str, Any]) -> Any:
        return WaveVAE(WaveVAEConfig(**config))

    def loss(self, model: Any, x: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses = model(x, sample_posterior=True, generator=seeded()).losses
        return losses["nll"] + 0.1 * losses["kl"]

    def test_the_signature_is_the_configuration(self):
        assert set(WaveVAE.argument_names()) == self.config.keys() == self.other_values.keys()

    def nll(self, model: Any, seed: int = 0) -> Tensor:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            return model(self.waveform(20 * model.hop_length)).losses["nll"]

    def test_dropout_of_the_past_draws_other_frames_at_each_step_of_training_only(self):
        model = self.tiny_model()
        assert self.nll(model, 0) == self.nll(model, 1)
        model.train()
        assert self.nll(model, 0) != self.nll(model, 1)
        model.config.past_dropout = 0.0
        assert self.nll(model, 0) == self.nll(model, 1) == self.nll(model.eval())

    def test_the_likelihood_of_a_random_part_given_its_past_trains(self):
        model = self.tiny_model(past_dropout=0.0)
        hop, count = model.hop_length, 12
        x = self.waveform(count * hop - 1)
        with torch.no_grad():
            nll = model.nll(model.encode(x).latent_dist.mode(), x)
        before = -(-model.decoder.wavenet.receptive_field // hop)
        assert before == 3
        model.train()
        for share, part in ((1.0, 12), (0.5, 6), (0.001, 1)):
            model.config.nll_share = share
            starts = range(min(before, count - part), count - part + 1)
            expected = {round(nll[..., start * hop :][..., : part * hop].mean().item(), 4) for start in starts}
            assert {round(model(x).losses["nll"].item(), 4) for _ in range(100)} == expected
        for wrong in (0, 1.5):
            with pytest.raises(ValueError, match=f"`nll_share` is {wrong}; use a share in"):
                self.tiny_model(nll_share=wrong)

    def test_the_term_is_the_mean_likelihood_given_the_latents(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(5 * model.hop_length + 2, dtype=torch.float64)
        with torch.no_grad():
            frames = model.decoder.frames(model.encode(x).latent_dist.mode())
            expected = model.decoder.wavenet.nll(frames, x).mean()
            torch.testing.assert_close(model(x).losses["nll"], expected)

    def test_decoding_draws_the_numbers_of_seed_0_unless_it_gets_a_generator(self):
        model = self.tiny_model()
        z = self.latents(model, 8, batch=2)
        same = [torch.Generator().manual_seed(0) for _ in range(2)]
        assert torch.equal(model.decode(z).sample, model.generate(z, generator=same))
        assert not torch.equal(model.decode(z, generator=seeded(3)).sample, model.decode(z).sample)

    def test_temperature_scales_the_spread_of_the_samples(self):
        model = self.tiny_model()
        z = self.latents(model, 60)
        # Of the changes: the mixture adds them up.
        draft = 0 if model.decoder.draft is None else model.draft(z)
        spreads = [(model.generate(z, temperature=value) - draft).diff().std() for value in (0, 0.3, 1)]
        assert spreads[0] < spreads[1] < spreads[2]
        for wrong in (-0.1, float("nan"), float("inf"), True, "1"):
            with pytest.raises(ValueError, match="`temperature` is .*finite number of 0 or more"):
                model.generate(z, temperature=wrong)

    def test_generation_uses_compiled_kernels_where_they_are_allowed(self, monkeypatch):
        used: list[object] = []
        monkeypatch.setattr(modeling_wave_vae, "compiled_wavenet", used.append)
        model = self.tiny_model()
        z = self.latents(model, 3)
        before = allow_compiled_kernels(False)
        model.generate(z)
        assert used == []
        allow_compiled_kernels()
        model.generate(z)
        allow_compiled_kernels(before)
        assert used == [model.decoder.wavenet]

    @torch.no_grad()
    def test_the_fused_form_generates_with_compiled_kernels(self):
        model = self.tiny_model()
        z = self.latents(model, 20, batch=2)
        plain = model.generate(z, generator=seeded(1))
        model.fuse()
        assert model.coder.network(model.decoder) is not model.decoder
        torch.testing.assert_close(model.generate(z, generator=seeded(1)), plain, rtol=0, atol=1e-4)
        pieces: list[Tensor] = []
        whole = model.generate(z, streamer=pieces.append)
        assert torch.equal(torch.cat(pieces, dim=-1), whole)
        model.decoder.wavenet.hidden.weight.mul_(2)
        with pytest.raises(ValueError, match="weights have changed"):
            model.generate(z)

    @pytest.mark.parametrize("is_fused", [False, True])
    @pytest.mark.parametrize("distribution", DISTRIBUTIONS)
    @torch.no_grad()
    def test_bfloat16_generates_from_seeds_items_and_frames_as_float32_does(self, distribution, is_fused):
        if distribution not in self.distributions:
            pytest.skip("a draft has no mu-law classes")
        model = self.tiny_model(torch.bfloat16, distribution=distribution, num_components=8)
        if is_fused:
            model.fuse()
        z = self.latents(model, 12, batch=3, dtype=torch.bfloat16)
        batch = model.generate(z, generator=[seeded(1), seeded(2), seeded(3)])
        assert batch.dtype == torch.bfloat16
        assert torch.equal(model.generate(z[1:2], generator=[seeded(2)]), batch[1:2])
        assert not torch.equal(model.generate(z[1:2], generator=[seeded(4)]), batch[1:2])

    @torch.no_grad()
    def test_a_streamer_gets_each_frame_before_the_next_is_drawn(self):
        model, generator = self.tiny_model(torch.bfloat16), seeded(1)
        pieces, states = [], []

        def put(piece: Tensor) -> None:
            pieces.append(piece)
            states.append(tuple(generator.get_state().tolist()))

        whole = model.generate(self.latents(model, 4, dtype=torch.bfloat16), generator=generator, streamer=put)
        assert torch.equal(torch.cat(pieces, dim=-1), whole)
        assert len(set(states)) == 4

    @torch.no_grad()
    def test_a_graph_of_single_samples_is_refused(self):
        model = self.tiny_model()
        x, z = self.waveform(2 * model.hop_length), self.latents(model, 2)
        for module, inputs in ((model, x), (Decode(model), z)):
            with pytest.raises(
                ValueError, match="draws one sample after another to decode, which a graph cannot; exp"
            ):
                torch.export.export(module, (inputs,))

    @pytest.mark.slow
    @torch.no_grad()
    def test_compilers_leave_single_samples_to_python(self):
        model = self.tiny_model()
        z = self.latents(model, 5)
        compiled = torch.compile(Decode(model), backend="aot_eager")
        assert torch.equal(compiled(z), model.decode(z).sample)
        torch._dynamo.reset()
        with pytest.raises(torch._dynamo.exc.Unsupported, match="draws one sample after another to decode"):
            torch.compile(Decode(model), backend="aot_eager", fullgraph=True)(z)

    @torch.no_grad()
    def test_the_progress_bar_counts_the_samples_that_a_streamer_gets(self, capsys):
        model = self.tiny_model()
        z = self.latents(model, 4)
        silent = model.generate(z)
        assert capsys.readouterr().err == ""
        bar, counted = io.StringIO(), []
        model.set_progress_bar_config(file=bar, mininterval=0, unit_scale=False)
        shown = model.generate(z, streamer=lambda piece: counted.append(re.findall(r"(\d+)/24 ", bar.getvalue())[-1]))
        assert counted == ["6", "12", "18", "24"]
        assert torch.equal(shown, silent)
        model.set_progress_bar_config(disable=True)
        model.decode(z)
        assert capsys.readouterr().err == ""

    @torch.no_grad()
    def test_an_offloaded_model_comes_to_its_device_to_generate(self):
        class Hook(accelerate.hooks.ModelHook):
            calls = 0

            def pre_forward(self, module, *args, **kwargs):
                self.calls += 1
                return args, kwargs

        model, hook = self.tiny_model(), Hook()
        accelerate.hooks.add_hook_to_module(model, hook)
        model.decode(self.latents(model, 2))
        model.generate(self.latents(model, 2))
        assert hook.calls == 2
