"""A WaveVAE whose WaveNet generates the difference from a draft."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hf_audio_vae import WaveVAE, WaveVAEConfig
from hf_audio_vae.modules.frame_generation import UniformNoise
from tests.models.probes import seeded
from tests.models.wave_vae import test_modeling_wave_vae as plain

OPTIONS = {"hidden_sizes": [6, 8], "num_blocks": [3, 2], "kernel_size": 3, "magnitude_exponent": 0.5, "expansion": 2.0}


class TestDraftedWaveVAE(plain.TestWaveVAE):
    fixed = {
        "downsampling_ratios": (2, 3),
        "window_length": 8,
        "stft_options": OPTIONS,
        "latents_mean": None,
        "latents_std": None,
    }
    config = plain.TestWaveVAE.config | {"stft_options": OPTIONS}
    other_values = plain.TestWaveVAE.other_values | {"stft_options": OPTIONS | {"magnitude_exponent": 0.9}}
    changes_with = plain.TestWaveVAE.changes_with | {"distribution": {"stft_options": None}}
    distributions = ("logistic_mixture",)

    def parts(self, model: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the draft and what the WaveNet generates."""
        generated = model.decoder.wavenet.generate(self.frames(model, latents), UniformNoise(len(latents)))
        return model.decoder.draft(latents), generated

    def frames(self, model: Any, latents: Tensor) -> Tensor:
        """Return the frames that condition the WaveNet."""
        decoder = model.decoder
        return decoder.frames(decoder.magnitude(decoder.stft(decoder.draft(latents))))

    @torch.no_grad()
    def test_the_term_is_the_mean_likelihood_given_the_latents(self):
        model = self.tiny_model(torch.float64)
        x = self.waveform(5 * model.hop_length + 2, dtype=torch.float64)
        z = model.encode(x).latent_dist.mode()
        difference = x - model.decoder.draft(z)[..., : x.shape[-1]]
        expected = model.decoder.wavenet.nll(self.frames(model, z), difference)
        torch.testing.assert_close(model.nll(z, x), expected)
        torch.testing.assert_close(model(x).losses["nll"], expected.mean())

    @torch.no_grad()
    def test_the_sample_is_the_draft_and_what_the_wavenet_generates(self):
        model = self.tiny_model()
        z = self.latents(model, 20, batch=2)
        draft, generated = self.parts(model, z)
        assert draft.abs().mean() > 0.1
        torch.testing.assert_close(model.decode(z).sample, (draft + generated).clamp(-1, 1))
        model.decoder.draft.project.weight.mul_(100)
        loud = model.decode(z).sample
        assert loud.abs().max() == 1
        pieces: list[Tensor] = []
        assert torch.equal(loud, model.generate(z, streamer=pieces.append))
        assert torch.equal(loud, torch.cat(pieces, dim=-1))

    @torch.no_grad()
    def test_the_draft_in_the_sample_changes_with_the_latents(self):
        model = self.tiny_model(torch.float64)
        first, second = self.latents(model, 60, dtype=torch.float64).chunk(2, dim=-1)
        both = torch.cat([first, second], dim=-1)
        draft, generated = self.parts(model, both)
        sample = model.decode(both).sample
        inside = sample.abs() < 1  # elsewhere the sum is bounded
        torch.testing.assert_close((sample - generated)[inside], draft[inside])
        half = first.shape[-1] * model.hop_length
        reach = model.decoder.draft.input_span(half, half + 1)[1] * model.hop_length - half  # of the change
        for own, at in ((first, slice(0, half - reach)), (second, slice(half + reach, None))):
            alone = torch.cat([own, own], dim=-1)
            torch.testing.assert_close(draft[..., at], self.parts(model, alone)[0][..., at])

    def test_in_training_the_sample_is_the_draft(self):
        model = self.tiny_model()
        x = self.waveform(5 * model.hop_length + 1)
        with torch.no_grad():
            draft = model.decoder.draft(model.encode(x).latent_dist.mode())[..., : x.shape[-1]]
        assert not torch.equal(model(x).sample, draft)
        model.train()
        sample = model(x).sample
        torch.testing.assert_close(sample, draft)
        sample.sum().backward()
        assert model.encoder.project.weight.grad.any()
        assert model.decoder.wavenet.hidden.weight.grad is None

    def test_the_model_trains_on_waveforms_with_a_draft_only(self):
        for options, expected in ((OPTIONS, True), (None, False)):
            model = self.tiny_model(stft_options=options)
            assert model.reconstruction_terms == ("nll",)
            assert model.trains_on_waveforms is expected

    @torch.no_grad()
    def test_past_dropout_hides_the_difference_only(self):
        model = self.tiny_model(past_dropout=0.999999).train()
        x = self.waveform(4 * model.hop_length)
        z = model.encode(x).latent_dist.mode()
        hidden = torch.ones(1, 1, 4, dtype=torch.bool)
        difference = x - model.decoder.draft(z)
        expected = model.decoder.wavenet.nll(self.frames(model, z), difference, dropped=hidden)
        torch.testing.assert_close(model.nll(z, x), expected)

    @torch.no_grad()
    def test_fused_chunks_draft_the_same(self):
        model = self.tiny_model()
        z = self.latents(model, 30)
        whole = model.generate(z, generator=seeded(1))
        model.enable_tiling(4)
        model.fuse()
        torch.testing.assert_close(model.generate(z, generator=seeded(1)), whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distribution": "mu_law"}, 'has no mu-law classes; use "logistic_mixture"'),
        ({"stft_options": {"hidden_size": 4}}, "`stft_options` are .*'hidden_size'"),
        ({"stft_options": OPTIONS | {"window_length": 64}}, "`stft_options` are .*'window_length'"),
        ({"stft_options": OPTIONS | {"causal": True}}, "`stft_options` are .*'causal'"),
        ({"stft_options": {"hidden_sizes": [4], "num_blocks": [1]}}, "differ in length"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WaveVAE(WaveVAEConfig(**{"downsampling_ratios": (2, 3), "stft_options": OPTIONS} | changes))
