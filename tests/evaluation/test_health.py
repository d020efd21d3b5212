"""One voice for latents and codes: the same questions, each answered by its own statistics."""

import json
from types import SimpleNamespace

import pytest
import torch

from hf_audio_vae.evaluation import CodeStatistics, Health, LatentStatistics, health_of
from hf_audio_vae.evaluation.codes import usage_warning
from hf_audio_vae.evaluation.latents import collapse_warning
from hf_audio_vae.evaluation.reports import channels_table, codebooks_table
from hf_audio_vae.modules.distributions import DiagonalGaussian

VAE = SimpleNamespace(frame_rate=50.0, codebook_sizes=())
CODEC = SimpleNamespace(frame_rate=50.0, sampling_rate=1000, codebook_sizes=(8, 8), codebook_hop_lengths=(20, 20))
LEVELS = SimpleNamespace(sampling_rate=1000, codebook_hop_lengths=(10, 20), codebook_sizes=(8, 8))
POSTERIOR = DiagonalGaussian(torch.arange(12.0).reshape(1, 3, 4), torch.ones(1, 3, 4))
CODES = torch.tensor([[[0, 1, 2, 3], [5, 5, 5, 4]]])


def of_latents() -> tuple[Health, LatentStatistics]:
    health, statistics = health_of(VAE), LatentStatistics(50.0)
    health.add(SimpleNamespace(latent_dist=POSTERIOR))
    statistics.add(POSTERIOR)
    return health, statistics


def of_codes() -> tuple[Health, CodeStatistics]:
    health, statistics = health_of(CODEC), CodeStatistics((8, 8), (50.0, 50.0))
    health.add(SimpleNamespace(audio_codes=CODES, audio_codes_mask=None))
    statistics.add(CODES)
    return health, statistics


@pytest.mark.parametrize(
    ("made", "name", "warning", "table"),
    [(of_latents, "latents", collapse_warning, channels_table), (of_codes, "codes", usage_warning, codebooks_table)],
)
def test_health_is_that_of_the_statistics(made, name, warning, table):
    health, statistics = made()
    assert health.name == name
    assert health.frames == 4
    assert health.summary() == statistics.summary()
    assert health.table() == table(statistics)
    assert health.warning(1.0) == warning(statistics, 1.0)
    assert health.figure("a title").get_suptitle() == "a title"


@pytest.mark.parametrize(("named", "option"), [({}, "weights.kl"), ({"kl_option": "kl_weight"}, "kl_weight")])
def test_a_collapse_names_the_weight_of_the_models_recipes(named: dict, option: str) -> None:
    health = health_of(SimpleNamespace(frame_rate=50.0, codebook_sizes=(), **named))
    health.add(SimpleNamespace(latent_dist=DiagonalGaussian(torch.zeros(1, 3, 4), torch.ones(1, 3, 4))))
    warning = health.warning(1.0) or "none"
    assert f"lower the weight of the KL (`{option}` of the recipe)" in warning


def test_the_numbers_of_latents_are_all_there_is_in_json():
    health, statistics = of_latents()
    numbers = json.loads(json.dumps(health.numbers()))
    assert (numbers["frames"], numbers["frame_rate"]) == (4, 50.0)
    assert numbers["summary"] == statistics.summary()
    assert numbers["channels"]["kl_nats"] == statistics.kl_nats.tolist()
    assert numbers["eigenvalues"] == statistics.eigenvalues.tolist()


def test_the_numbers_of_codes_are_all_there_is_in_json():
    health, statistics = of_codes()
    numbers = json.loads(json.dumps(health.numbers()))
    assert (numbers["frame_rates"], numbers["codebook_sizes"]) == ([50.0, 50.0], [8, 8])
    assert numbers["summary"] == statistics.summary()
    assert numbers["codebooks"] == {name: values.tolist() for name, values in statistics.by_codebook().items()}


def test_padding_is_left_out_of_the_codes():
    health = health_of(CODEC)
    health.add(SimpleNamespace(audio_codes=CODES, audio_codes_mask=torch.tensor([[True, True, False, False]])))
    assert health.numbers()["codebooks"]["frames"] == [2, 2]


def test_a_hierarchy_is_measured_level_by_level():
    health = health_of(LEVELS)
    health.add(SimpleNamespace(audio_codes=(CODES[:, :1], CODES[:, 1:, :2])))
    assert health.frames == 4
    assert health.numbers()["frame_rates"] == [100.0, 50.0]
    assert health.numbers()["codebooks"]["frames"] == [4, 2]


@pytest.mark.parametrize(
    ("model", "output", "message"),
    [
        (VAE, SimpleNamespace(audio_codes=CODES), "SimpleNamespace has no `latent_dist`"),
        (CODEC, SimpleNamespace(latent_dist=POSTERIOR), "SimpleNamespace has no `audio_codes`"),
        (CODEC, SimpleNamespace(audio_codes=None), "has no `audio_codes`; use `health_of` the model"),
    ],
)
def test_the_output_of_another_kind_of_model_is_refused(model, output, message):
    with pytest.raises(ValueError, match=message):
        health_of(model).add(output)
