from dataclasses import replace

import pytest
import torch

from hf_audio_vae.data import CropBatch
from hf_audio_vae.losses import WaveformL1Loss
from hf_audio_vae.models import AutoencoderModel, new_autoencoder
from hf_audio_vae.training.autoencoder.compiling import compile_networks
from hf_audio_vae.training.autoencoder.steps import reconstruction_step
from tests.training.autoencoder.test_train_codec import DAC, LEVELS, VQVAE
from tests.training.runs import RECIPE

RECIPES = {"WaveformVAE": RECIPE | {"family": "WaveformVAE"}, "ema": VQVAE, "projected": DAC, "levels": LEVELS}


def gradients(model: AutoencoderModel, batch: CropBatch) -> dict[str, torch.Tensor]:
    batch = replace(batch, waveform=batch.waveform.double())
    made = reconstruction_step(model.double().train(), batch, {"waveform_l1": WaveformL1Loss()})
    (made.distances["waveform_l1"] + sum(term.sum() for term in made.regularisers.values())).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_compiled_networks_are_one_graph_each_with_the_same_gradients(name: str, batch: CropBatch) -> None:
    recipe = RECIPES[name]
    plain, compiled = (new_autoencoder(recipe["family"], recipe["model"]) for _ in range(2))
    compiled.load_state_dict(plain.state_dict())
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compile_networks(compiled, backend="aot_eager")
    expected, found = gradients(plain, batch), gradients(compiled, batch)
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] >= len(compiled.networks)
    assert not counters["graph_break"]
    assert found.keys() == expected.keys() != set()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-6, atol=1e-10)
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_an_lstm_is_refused() -> None:
    model = new_autoencoder("WaveformVQVAE", VQVAE["model"] | {"num_lstm_layers": 1})
    with pytest.raises(ValueError, match="LSTM.*leave out `torch_compile`"):
        compile_networks(model)


def test_a_decoder_of_single_samples_is_refused() -> None:
    config = {"downsampling_ratios": (2,), "hidden_size": 4, "residual_channels": 4, "skip_channels": 4}
    model = new_autoencoder("WaveVAE", config | {"num_stacks": 1, "layers_per_stack": 2})
    with pytest.raises(ValueError, match="WaveNetDecoder draws one sample.*leave out `torch_compile`"):
        compile_networks(model)
