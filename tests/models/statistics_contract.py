from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor


class StatisticsContract:
    """What a family with `NormalizedLatentsMixin` promises; inherited by the contract of the variational ones."""

    config: dict[str, Any]

    tiny_model: Callable[..., Any]  # of the inheriting contract
    latents: Callable[..., Tensor]

    def test_latents_are_normalised_by_channel_and_back(self):
        model = self.tiny_model(torch.float64)
        z = self.latents(model, 20, batch=2, dtype=torch.float64)
        mean, std = (torch.tensor(self.config[name], dtype=z.dtype) for name in ("latents_mean", "latents_std"))
        spread = z * std[:, None] + mean[:, None]
        torch.testing.assert_close(model.normalize_latents(spread), z, rtol=0, atol=1e-14)
        torch.testing.assert_close(model.denormalize_latents(z), spread, rtol=0, atol=1e-14)

    def test_latents_without_statistics_are_not_taken_for_normalised_ones(self):
        assert self.tiny_model().has_latent_statistics
        model = self.tiny_model(latents_mean=None, latents_std=None)
        assert not model.has_latent_statistics
        z = self.latents(model, 5)
        for convert in (model.normalize_latents, model.denormalize_latents):
            with pytest.raises(ValueError, match="no `latents_mean`.*hf-audio-vae statistics MODEL --dataset_name"):
                convert(z)

    def test_statistics_that_do_not_fit_are_refused(self):
        mean, std = self.config["latents_mean"], self.config["latents_std"]
        for wrong, message in (
            ({"latents_std": None}, "give both or neither"),
            ({"latents_mean": (*mean, 0.0)}, f"has {len(mean) + 1} values.*one for each of the {len(mean)}"),
            ({"latents_std": (0.0, *std[1:])}, "holds 0.0"),
            ({"latents_mean": (float("nan"), *mean[1:])}, "not finite; measure again"),
        ):
            with pytest.raises(ValueError, match=message):
                self.tiny_model(**wrong)
