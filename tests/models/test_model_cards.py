"""The cards of the repository are what the Hub reads."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

import hf_audio_vae
from hf_audio_vae.evaluation.card_metadata import origin_of, read_card
from hf_audio_vae.files.location import DEFAULT_MODEL, PRETRAINED
from hf_audio_vae.models import FAMILIES
from tests.hub import LICENSES, mock_hub

ROOT = Path(__file__).parents[2]
CARDS = [*sorted((ROOT / "model_cards").glob("*.md")), PRETRAINED / DEFAULT_MODEL / "README.md"]


@pytest.mark.parametrize("path", CARDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_card_has_the_metadata_of_its_model(path: Path) -> None:
    card = read_card(path)
    assert card is not None
    used = re.findall(r"^from hf_audio_vae import (\w+)$", card.text, flags=re.MULTILINE)
    (model_class,) = {getattr(hf_audio_vae, name) for name in used}
    data = card.data
    assert data.library_name == "hf_audio_vae"
    assert origin_of(card).license in LICENSES
    autoencoder = model_class.__name__ in FAMILIES
    assert data.pipeline_tag == ("audio-to-audio" if autoencoder else "text-to-audio")
    assert {"audio", "hf-audio-vae"} < set(data.tags)
    if autoencoder:
        assert re.search(rf"^\| sampling rate +\| +{data.sampling_rate} Hz \|$", card.text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_figure_of_the_metadata_is_in_a_table(path: Path) -> None:
    card = ModelCard.load(path)
    rows = {row[0]: row[1] for row in re.findall(r"^\| (.+?) +\| +(-?[\d.]+) \|", card.text, flags=re.MULTILINE)}
    assert card.data.eval_results
    for result in card.data.eval_results:
        assert rows[result.metric_name] == f"{result.metric_value:.3f}"


def test_the_hub_accepts_the_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    with mock_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        for path in CARDS:
            ModelCard.load(path).validate()
        with pytest.raises(ValueError, match='"license" is wrong'):
            ModelCard(CARDS[0].read_text().replace("license: apache-2.0", "license: mine")).validate()
