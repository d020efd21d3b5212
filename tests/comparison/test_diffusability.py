"""Models side by side by the denoisers of their latents: runs, sounds and results."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae import SpectrogramVAE, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.comparison.diffusability import (
    Budget,
    Diffusability,
    FrameDenoiser,
    HeldOut,
    Measured,
    References,
    generated_sounds,
    measure_diffusability,
)
from hf_audio_vae.comparison.diffusability.sounds import mean_log_spectrum
from hf_audio_vae.comparison.systems import ModelSystem
from hf_audio_vae.evaluation.embeddings import embedding_of

RATE = 8000
TINY = Budget(steps=2, batch=2, crop_seconds=0.2, held_out_seconds=2.0, piece_seconds=0.5, sampler_steps=2)


def system(name: str, seed: int, *, strides: tuple[int, int] = (8, 10)) -> ModelSystem:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ModelSystem(name, WaveformVAE(4, strides, (1, 2), 4, 3, 1, RATE).eval())


def clips(sampling_rate: int, audio_channels: int) -> Iterator[tuple[str, Tensor]]:
    for seed in range(4):
        noise = torch.randn(audio_channels, sampling_rate * 6 // 5, generator=torch.Generator().manual_seed(seed))
        yield f"clip {seed}", 0.1 * noise


def references() -> References:
    return References(HeldOut.of(clips(RATE, 1), RATE, TINY), [embedding_of("log_mel", sampling_rate=RATE)])


def numbers(found: Diffusability) -> str:
    return json.dumps(found.numbers())


def measured(systems: list[ModelSystem], folder: Path | None = None, *, budget: Budget = TINY) -> Diffusability:
    return measure_diffusability(systems, clips, references, budget=budget, folder=folder)


def test_held_out_clips_are_cut_into_pieces_up_to_the_budget() -> None:
    held_out = HeldOut.of(clips(RATE, 1), RATE, TINY)
    assert [piece.shape[1] for piece in held_out.pieces] == [4000, 4000, 1600, 4000, 2400]
    joined = torch.cat(held_out.pieces[:3], dim=1)
    assert torch.equal(joined, next(iter(clips(RATE, 1)))[1])
    assert held_out.seconds == 2.0


def test_a_short_rest_of_a_clip_is_left_out_but_not_a_short_clip() -> None:
    sounds = [("a", torch.randn(1, 4010)), ("b", torch.randn(1, 10))]
    assert [p.shape[1] for p in HeldOut.of(sounds, RATE, TINY).pieces] == [4000, 10]


def test_no_clips_are_an_error() -> None:
    with pytest.raises(ValueError, match="no held-out clips; name a data set"):
        HeldOut.of([], RATE, TINY)


def test_the_mean_log_spectrum_tells_a_gain_in_db() -> None:
    noise = torch.randn(2, 20 * 1024, generator=torch.Generator().manual_seed(0))
    difference = mean_log_spectrum([0.5 * noise]) - mean_log_spectrum([noise])
    # One of 82 levels of a frequency may be at the floor, above all at the ends, where the spectra are real.
    torch.testing.assert_close(difference, torch.full_like(difference, 20 * math.log10(0.5)), rtol=0, atol=0.2)


def test_originals_have_no_distance_from_themselves() -> None:
    found = references()
    figures = found.compare(found.held_out.pieces, paired=True)
    assert figures == {"KAD log_mel": 0.0, "spectrum_db": 0.0}  # too few embeddings for a covariance
    louder = found.compare([2 * piece for piece in found.held_out.pieces], paired=True)
    assert louder["KAD log_mel"] > 10
    assert louder["spectrum_db"] == pytest.approx(20 * math.log10(2), abs=0.01)


def test_generated_sounds_have_the_lengths_and_channels_of_the_held_out_ones() -> None:
    vae = system("vae", 0)
    stereo = HeldOut([torch.randn(2, 12_345), torch.randn(2, 999)], 12_000)
    statistics = (torch.zeros(3, 1), torch.ones(3, 1))
    sounds = generated_sounds(vae, FrameDenoiser(3), statistics, stereo, steps=2, seed=0)
    assert [sound.shape for sound in sounds] == [(2, 12_345), (2, 999)]


def test_a_denoiser_of_nothing_decodes_noise_of_the_statistics() -> None:
    """The untrained denoiser carries normal noise to normal latents: the sounds are decoded noise."""
    vae = system("vae", 0)
    held_out = HeldOut([torch.zeros(1, 80 * 50)], RATE)
    mean, std = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.5], [1.0], [0.1]])
    (sound,) = generated_sounds(vae, FrameDenoiser(3), (mean, std), held_out, steps=100, seed=7)
    noise = torch.randn(3, 50, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        expected = vae.model.decode((noise * std + mean)[None]).sample[0]
    # Euler steps of 1/100 keep the scale of the noise within 1 %.
    assert (sound - expected).abs().max() < 0.05 * expected.abs().max()


def test_identical_models_do_not_differ() -> None:
    found = measured([system("first", 0), system("second", 0)])
    for pairs in found.differences.values():
        interval = pairs["first", "second"]
        assert (interval.mean, interval.low, interval.high) == (0, 0, 0)
    assert set(found.findings().values()) == {"first ≈ second"}
    assert found.warning is None


def test_figures_are_repeatable_and_differ_between_seeds() -> None:
    first, second = (measured([system("vae", 0)]) for _ in range(2))
    assert numbers(first) == numbers(second)
    runs = first.measured["vae"].runs
    assert len({run["gain_bits"] for run in runs}) == len({run["spectrum_db"] for run in runs}) == 3


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = [system("a", 0), system("b", 1)]
    expected = numbers(measured(systems, tmp_path / "whole"))
    stopped = []

    def announce(line: str) -> None:
        stopped.append(line)
        if len(stopped) == 5:  # the second seed of the second model
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_diffusability(systems, clips, references, budget=TINY, folder=tmp_path / "killed", announce=announce)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("killed/runs/*.json")}
    assert len(kept) == 6  # reconstructions of both, three seeds and one
    found = measure_diffusability(
        systems, clips, references, budget=TINY, folder=tmp_path / "killed", announce=stopped.append
    )
    assert numbers(found) == expected
    assert stopped[5:] == ["b: seed 1, 2 steps", "b: seed 2, 2 steps"]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_only_the_first_seconds_of_the_budget_are_trained_on() -> None:
    asked: list[str] = []

    def noted(sampling_rate: int, audio_channels: int) -> Iterator[tuple[str, Tensor]]:
        for name, clip in clips(sampling_rate, audio_channels):
            asked.append(name)
            yield name, clip

    lines: list[str] = []
    small = Budget(**{**vars(TINY), "training_seconds": 2.5})
    measure_diffusability([system("vae", 0)], noted, references, budget=small, announce=lines.append)
    assert asked == ["clip 0", "clip 1", "clip 2"]
    assert lines[0] == "training uses at most the first 2 s of sound"


def test_codecs_are_refused() -> None:
    config = WaveformVQVAEConfig(
        sampling_rate=RATE, downsampling_ratios=[8], encoder_hidden_size=4, decoder_hidden_size=8, hidden_size=8
    )
    with pytest.raises(ValueError, match="codec has codes, which have no denoiser; name models with latents"):
        measured([ModelSystem("codec", WaveformVQVAE(config).eval())])


def test_latents_of_spectrograms_are_channels_times_bins() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"mel_bins": 16, "block_out_channels": (4, 4), "layers_per_block": 1, "latent_channels": 2}
        model = SpectrogramVAE(
            "mel", downsampling_ratios=(40, 2), bin_ratios=(2, 2), **sizes, window_length=256, sampling_rate=RATE
        )
    found = measured([ModelSystem("mel", model.eval())])
    assert found.measured["mel"].numbers_per_second == 2 * 4 * RATE / 80  # two channels of four bins


def figures(values: list[float], *, distance: float = 1.0, rate: float = 1000.0) -> Measured:
    return Measured([{"gain_bits": v, "KAD log_mel": distance + v} for v in values], {"KAD log_mel": 0.5}, rate)


def test_differences_are_paired_by_seed() -> None:
    found = Diffusability({"a": figures([1.0, 2.0, 3.0]), "b": figures([1.1, 2.12, 3.08])})
    interval = found.differences["gain_bits"]["a", "b"]
    assert interval.mean == pytest.approx(-0.1)
    half = 4.302653 * 0.02 / math.sqrt(3)  # Student's t of 2 degrees of freedom; the deviations are -0.02, 0, 0.02
    assert (interval.low, interval.high) == (pytest.approx(-0.1 - half), pytest.approx(-0.1 + half))
    assert found.findings() == {"gain_bits": "b > a", "KAD log_mel": "a > b"}


def test_the_report_has_every_figure_and_the_ceiling_beside_it() -> None:
    text = Diffusability({"a": figures([1.0, 2.0, 3.0]), "b": figures([5.0, 6.0, 7.0])}).markdown()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert ["denoising gain (bits a latent number)", "2.000 [-0.484, 4.484]", "6.000 [3.516, 8.484]"] in lines
    assert ["KAD log_mel (↓), of reconstructions", "0.500", "0.500"] in lines
    assert ["denoising gain (bits a latent number)", "a - b", "-4.000 [-4.000, -4.000]"] in lines
    assert "- KAD log_mel (↓): a > b" in text
    assert "3 seeds" in text


def test_models_of_other_rates_get_a_warning() -> None:
    near = Diffusability({"a": figures([1.0, 2.0]), "b": figures([1.0, 2.0], rate=1099.0)})
    far = Diffusability({"a": figures([1.0, 2.0]), "b": figures([1.0, 2.0], rate=1101.0)})
    assert near.warning is None
    assert far.warning is not None
    assert "a 1000, b 1101" in far.warning
    assert far.warning in far.markdown()
