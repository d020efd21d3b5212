"""The examples of CONTRIBUTING.md work as the page says."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.modules.quantization import QUANTIZERS
from hf_audio_vae.training.sections import sections_of

REPO = Path(__file__).parents[1]
TEXT = (REPO / "CONTRIBUTING.md").read_text()


def example(title: str) -> dict[str, Any]:
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(block, names)
    return names


def test_the_loss_is_the_difference_of_levels_and_its_options_are_those_of_the_recipe() -> None:
    loss = example("A loss")["LogEnergyLoss"]
    waveform = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0))
    assert loss()(waveform, waveform) == 0
    torch.testing.assert_close(loss()(2 * waveform, waveform), torch.tensor(4.0).log())
    (recipe,) = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    options = yaml.safe_load(recipe)["losses"]
    section = sections_of({"log_energy": loss}, given=("sampling_rate",))(**options)
    assert dict(section.log_energy) == {"window_length": 256}


def test_the_quantizer_serves_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(QUANTIZERS, "sign", example("A quantizer")["SignQuantizer"])
    torch.manual_seed(0)
    tiny = {"downsampling_ratios": (2, 3), "encoder_hidden_size": 4, "decoder_hidden_size": 8, "hidden_size": 4}
    codec = WaveformVQVAE(WaveformVQVAEConfig(**tiny, quantizer="sign", quantizer_options={"scale": 0.5}))
    output = codec.train()(torch.randn(1, 1, 60))
    assert codec.codebook_sizes == (2,)
    output.audio_values.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in codec.encoder.parameters())
    assert set(codec.eval().encode(torch.randn(1, 1, 600)).audio_codes.unique().tolist()) <= {0, 1}


def test_the_files_that_the_page_names_exist() -> None:
    for name in re.findall(r"`((?:tests|src|docs)/[\w./]+)`|\]\(([\w./]+)\)", TEXT):
        assert (REPO / (name[0] or name[1])).exists(), name
