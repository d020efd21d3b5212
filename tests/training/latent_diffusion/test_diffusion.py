from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae import LatentConditioner
from hf_audio_vae.data import LatentBatch
from hf_audio_vae.data.latents import LatentCrop, collate_latents
from hf_audio_vae.data.streaming import Origin, Position
from hf_audio_vae.losses.diffusion import RectifiedFlow, VPrediction
from hf_audio_vae.training.latent_diffusion.denoiser import Denoiser, new_denoiser
from hf_audio_vae.training.latent_diffusion.objective import diffusion_step
from tests.pipelines.latent_parts import CHANNELS, transformer
from tests.pipelines.parts import WIDTH, with_random_parameters

LENGTHS = (20, 7, 13)
PROCESSES = [RectifiedFlow(), VPrediction()]


def unchanged(latents: Tensor) -> Tensor:
    return latents


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(transformer(), with_random_parameters(LatentConditioner(WIDTH, ("a", "b"))))


def batch_of(lengths: tuple[int, ...], first: int = 0) -> LatentBatch:
    """Posteriors of noise whose class, seed and values are those of the item, wherever it sits."""
    crops, seeds = [], []
    for item, frames in enumerate(lengths, start=first):
        values = torch.randn(CHANNELS, frames, generator=torch.Generator().manual_seed(100 + item))
        crops.append(LatentCrop(values, torch.full_like(values, 0.1), class_label=item % 2))
        seeds.append(item)
    origin = Origin([str(seed) for seed in seeds], seeds, 0, Position())
    return collate_latents(crops, origin, frame_rate=20.0)


def test_an_item_without_class_and_text_trains_as_one_whose_conditions_are_dropped() -> None:
    denoiser = Denoiser(transformer(), with_random_parameters(LatentConditioner(WIDTH, ("a", "b"), 12)))

    def encode_prompts(prompts: list[str]) -> tuple[Tensor, Tensor]:
        states = torch.stack([torch.full((3, 12), float(len(prompt))) for prompt in prompts])
        has_text = torch.tensor([bool(prompt) for prompt in prompts])
        return states, has_text[:, None].expand(-1, 3)

    def errors(labels: list[int], prompts: list[str], dropout: float) -> Tensor:
        batch = replace(batch_of((20, 7)), class_labels=torch.tensor(labels), prompts=prompts)
        terms = {"normalize": unchanged, "encode_prompts": encode_prompts, "condition_dropout": dropout}
        return diffusion_step(denoiser, batch, RectifiedFlow(), **terms).denoiser

    given, dropped = errors([0, 1], ["a", "bc"], 0.0), errors([0, 1], ["a", "bc"], 1.0)
    torch.testing.assert_close(errors([-1, 1], ["", "bc"], 0.0), torch.stack([dropped[0], given[1]]))
    assert not torch.isclose(given, dropped).any()
    partly = errors([-1, 1], ["a", ""], 0.0)
    assert not torch.isclose(partly, given).any(), "a missing condition is not there"
    assert not torch.isclose(partly, dropped).any(), "the other condition is"


@pytest.mark.parametrize("process", PROCESSES)
def test_an_items_error_is_its_own_whatever_it_is_padded_to(denoiser: Denoiser, process) -> None:
    together = diffusion_step(denoiser, batch_of(LENGTHS), process, normalize=unchanged, condition_dropout=0.5)
    for item, frames in enumerate(LENGTHS):
        alone = diffusion_step(
            denoiser, batch_of((frames,), item), process, normalize=unchanged, condition_dropout=0.5
        )
        torch.testing.assert_close(together.denoiser[item : item + 1], alone.denoiser, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.linear_guess[item : item + 1], alone.linear_guess, rtol=1e-5, atol=1e-6)


def test_latents_are_drawn_from_the_posterior_and_normalised(denoiser: Denoiser) -> None:
    seen: list[Tensor] = []

    def normalize(latents: Tensor) -> Tensor:
        seen.append(latents)
        return latents

    wide = batch_of((4000,))
    diffusion_step(denoiser, wide, RectifiedFlow(), normalize=normalize)
    drawn = (seen[0] - wide.mean) / 0.1
    assert abs(drawn.std() - 1) < 0.03
    assert abs(drawn.mean()) < 0.05


def test_the_share_of_dropped_conditions_is_the_one_asked_for(denoiser: Denoiser) -> None:
    shares = []
    denoiser.conditioner.register_forward_pre_hook(
        lambda module, args, kwargs: shares.append(kwargs["dropped"].float().mean().item()), with_kwargs=True
    )
    for dropout in (0.0, 0.2, 1.0):
        diffusion_step(denoiser, batch_of(500 * (1,)), RectifiedFlow(), normalize=unchanged, condition_dropout=dropout)
    assert shares[0] == 0.0
    assert abs(shares[1] - 0.2) < 0.06
    assert shares[2] == 1.0


@pytest.mark.parametrize("process", PROCESSES)
def test_it_learns_what_no_linear_guess_can_know(process) -> None:
    """Latents that are either all +1 or all -1: seen together, they tell each other which."""
    torch.manual_seed(0)
    denoiser = Denoiser(transformer(), LatentConditioner(WIDTH, ("a", "b")))
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=5e-3)
    signs = torch.tensor([1.0, -1.0]).repeat(16)[:, None, None]
    ratios = []
    for step in range(120):
        batch = batch_of(32 * (8,))
        origin = replace(batch.origin, seeds=list(range(32 * step, 32 * step + 32)))
        mean = signs.expand_as(batch.mean)
        batch = replace(batch, origin=origin, mean=mean, std=0 * mean, class_labels=None)
        errors = diffusion_step(denoiser, batch, process, normalize=unchanged)
        optimizer.zero_grad()
        errors.denoiser.mean().backward()
        optimizer.step()
        ratios.append((errors.denoiser.mean() / errors.linear_guess.mean()).item())
    assert sum(ratios[-20:]) / 20 < 0.6
    assert ratios[0] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_head_dim": 7}, "`attention_head_dim` is 7; rotary embeddings need a multiple of 4"),
        ({"num_layers": 0}, "`num_layers` is 0; it has to be an integer of 1 or more"),
        ({"time_proj_dim": 7}, "a StableAudioDiTModel with .*'time_proj_dim': 7.* cannot be built"),
        ({"num_attention_heads": 3, "num_key_value_attention_heads": 2}, "a StableAudioDiTModel with .* cannot be"),
        ({"layers": 2}, "has no argument layers"),
    ],
)
def test_a_denoiser_that_could_not_run_is_refused(options: dict[str, int], message: str) -> None:
    sizes = {"num_layers": 1, "attention_head_dim": 8, "num_attention_heads": 2, "num_key_value_attention_heads": 1}
    sizes |= {"cross_attention_dim": 8, "time_proj_dim": 8}
    arguments = {"conditioner_hidden_size": 8, "class_names": (), "text_hidden_size": None}
    new_denoiser(2, 8, sizes, **arguments)
    with pytest.raises(ValueError, match=message):
        new_denoiser(2, 8, sizes | options, **arguments)


def test_both_networks_are_saved_and_loaded_as_a_pipeline_has_them(denoiser: Denoiser, tmp_path: Path) -> None:
    denoiser.save_pretrained(tmp_path / "ema")
    assert {path.name for path in (tmp_path / "ema").iterdir()} == {"transformer", "conditioner"}
    loaded = Denoiser.from_pretrained(tmp_path, subfolder="ema")
    ours, theirs = denoiser.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
