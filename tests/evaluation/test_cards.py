import re

import pytest
import torch
import yaml
from diffusers import AutoencoderOobleck
from huggingface_hub import ModelCard

from hf_audio_vae.evaluation.card_metadata import Material, Measured, Origin, read_card
from hf_audio_vae.evaluation.cards import (
    Figures,
    Sample,
    model_card,
    model_summary,
    reconstruction_labels,
)
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS
from hf_audio_vae.evaluation.reports import CODE_METRICS, LATENT_METRICS, METRICS
from hf_audio_vae.evaluation.run_figures import figures_of_run
from hf_audio_vae.models import FAMILIES, WaveformVAE, WaveformVQVAE

MEASURED = {name: 1.2344 + 10 * i for i, name in enumerate(METRICS)}
LATENTS = {name: 501.2344 + 10 * i for i, name in enumerate(LATENT_METRICS)}
CODES = {name: 901.2344 + 10 * i for i, name in enumerate(CODE_METRICS)}
VAE = {"parameters": "1.23 M", "sampling rate": "44100 Hz"}
CODEC = VAE | {"codes": "9 x 1024"}


def figures(values: dict[str, float], **options) -> Figures:
    material = Material("held_out")
    return Figures(Measured(material, values, reconstruction_labels(values)), "the held-out sounds", **options)


def card(values: dict[str, float], model_class: type = WaveformVAE, summary: dict[str, str] = VAE, **options) -> str:
    return model_card(
        title="someone/a-model",
        model_class=model_class,
        summary=summary,
        sampling_rate=44100,
        figures=figures(values),
        **options,
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def rows(text: str) -> list[list[str]]:
    return [cells(line) for line in text.split("\n") if line.startswith("| ")]


def test_the_metadata_has_everything_that_is_known_and_nothing_else() -> None:
    text = card(MEASURED, origin=Origin("mit", ("someone/sounds",), "someone/base"))
    data = yaml.safe_load(text.split("---\n")[1])
    (model,) = data.pop("model-index")
    assert data == {
        "license": "mit",
        "datasets": ["someone/sounds"],
        "base_model": "someone/base",
        "library_name": "hf_audio_vae",
        "pipeline_tag": "audio-to-audio",
        "tags": ["audio", "vae", "autoencoder", "hf-audio-vae"],
        "sampling_rate": 44100,
    }
    assert model["name"] == "someone/a-model"
    unknown = yaml.safe_load(
        model_card(title="a", model_class=WaveformVAE, summary=VAE, sampling_rate=8000).split("---\n")[1]
    )
    assert unknown.keys() == {"library_name", "pipeline_tag", "tags", "sampling_rate"}


def test_the_library_of_a_published_class_is_its_own() -> None:
    text = card(MEASURED, model_class=AutoencoderOobleck)
    assert ModelCard(text).data.library_name == "diffusers"
    assert "from diffusers import AutoencoderOobleck\n" in text
    assert 'load_autoencoder("someone/a-model")' in text


def test_the_card_of_an_adapter_names_its_model_if_it_is_on_the_hub() -> None:
    on_hub = card(MEASURED, adapter_of="someone/base", origin=Origin(base_model="someone/base"))
    data = ModelCard(on_hub).data
    assert (data.library_name, data.base_model, data.base_model_relation) == ("peft", "someone/base", "adapter")
    assert "A low-rank adapter of the WaveformVAE someone/base" in on_hub
    assert 'load_autoencoder("someone/a-model")' in on_hub
    local = card(MEASURED, adapter_of="/home/someone/base")
    assert not {"base_model", "base_model_relation"} & yaml.safe_load(local.split("---\n")[1]).keys()
    assert "/home" not in local


def test_a_card_of_a_codec_says_codes_where_that_of_a_vae_says_latents() -> None:
    text = card(MEASURED, WaveformVQVAE, CODEC)
    assert "audio-codec" in ModelCard(text).data.tags
    assert "posterior" not in text
    assert "from its codes" in text
    assert "audio_codes" in text
    assert "audio_codes" not in card(MEASURED)


@pytest.mark.parametrize("model_class", [*FAMILIES.values(), AutoencoderOobleck], ids=lambda c: c.__name__)
def test_a_card_shows_python_that_compiles(model_class: type) -> None:
    blocks = re.findall(r"```python\n(.*?)```", card(MEASURED, model_class), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "card", "exec")
        assert '("someone/a-model")' in block


def test_the_first_heading_is_the_title() -> None:
    assert ModelCard(card(MEASURED)).text.lstrip().startswith("# someone/a-model\n")


def test_every_figure_of_a_card_is_one_that_was_passed_in() -> None:
    found = rows(card(MEASURED))
    assert ["parameters", "1.23 M"] in found
    assert [row for row in found if row[0] in METRICS.values()] == [
        [label, f"{MEASURED[name]:.3f}"] for name, label in METRICS.items()
    ]
    assert len(found) == 2 + 2 + len(METRICS)  # with a heading each
    results = ModelCard(card(MEASURED)).data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == pytest.approx(MEASURED)


@pytest.mark.parametrize("missing", RECONSTRUCTION_METRICS)
def test_a_metric_that_was_not_measured_is_neither_in_the_card_nor_defined(missing: str) -> None:
    label, definition = METRICS[missing], RECONSTRUCTION_METRICS[missing].definition
    without = card({name: value for name, value in MEASURED.items() if name != missing})
    assert f"| {label} " not in without
    assert f"- {RECONSTRUCTION_METRICS[missing].title}: " not in without
    assert missing not in [result.metric_type for result in ModelCard(without).data.eval_results]
    assert f": {definition}." in card(MEASURED)


def test_values_that_are_no_numbers_stay_out_of_the_metadata() -> None:
    text = card({"si_sdr_db": float("nan"), "mel_distance": float("inf"), "snr_db": 2.0})
    assert [result.metric_type for result in ModelCard(text).data.eval_results] == ["snr_db"]


def test_a_card_has_no_section_without_content() -> None:
    text = model_card(title="a", model_class=WaveformVAE, summary=VAE, sampling_rate=8000)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["How to use"]
    assert "\n\n\n" not in card(MEASURED | LATENTS, has_recipe=True)


@pytest.mark.parametrize(
    ("added", "labels", "summary", "words"),
    [
        (LATENTS, LATENT_METRICS, VAE, ("active", "effective rank", "mismatch", "at least 0.01")),
        (CODES, CODE_METRICS, CODEC, ("entropy", "perplexity", "efficiency", "Usage")),
    ],
    ids=["latents", "codes"],
)
def test_a_card_states_and_defines_the_figures_of_a_bottleneck_if_they_were_measured(
    added: dict[str, float], labels: dict[str, str], summary: dict[str, str], words: tuple[str, ...]
) -> None:
    with_them, without = card(MEASURED | added, summary=summary), card(MEASURED, summary=summary)
    assert with_them.startswith(without.rstrip("\n"))
    section = with_them.removeprefix(without.rstrip("\n"))
    assert rows(section)[1:] == [[label, f"{added[name]:.3f}"] for name, label in labels.items()]
    assert all(word in section for word in words)
    assert not any(label in without for label in labels.values())


def test_intervals_are_beside_their_means() -> None:
    measured = figures({"si_sdr_db": 1.0, "kl": 2.0}, intervals={"si_sdr_db": (0.5, 1.5)})
    text = model_card(title="a", model_class=WaveformVAE, summary=VAE, sampling_rate=8000, figures=measured)
    assert [METRICS["si_sdr_db"], "1.000", "0.500 to 1.500"] in rows(text)
    assert [METRICS["kl"], "2.000", "–"] in rows(text)


def test_systems_that_were_measured_together_are_in_one_table_with_the_findings() -> None:
    systems = {"mine": {"si_sdr_db": 1.0, "kl": 2.0}, "opus@16": {"si_sdr_db": 3.0}}
    measured = figures(systems["mine"], systems=systems, findings={"si_sdr_db": "opus@16 is better than mine"})
    text = model_card(title="a", model_class=WaveformVAE, summary=VAE, sampling_rate=8000, figures=measured)
    assert ["metric", "mine", "opus@16"] in rows(text)
    assert [METRICS["si_sdr_db"], "1.000", "3.000"] in rows(text)
    assert [METRICS["kl"], "2.000", "–"] in rows(text)
    assert "- SI-SDR: opus@16 is better than mine" in text


def test_samples_are_linked_with_names_that_are_no_markup() -> None:
    name = "a [b](c) <d>*é"
    files = [f"samples/{name}{end}" for end in (".original.wav", ".reconstruction.wav", ".png")]
    text = card(MEASURED, samples=[Sample(name, *files, "abc-def")])
    links = re.findall(r"(?:\]\(|src=\")(samples/[\w/.%*-]+)[)\"]", text)
    assert len(links) == 5  # a link and a player for each sound, and the picture
    assert "<d>" not in text.replace("\\<d\\>", "")
    assert "[b](c)" not in text


def test_a_recipe_names_no_folder_of_the_machine() -> None:
    recipe = {"validation_dataset_name": "/home/someone/sounds", "validation_seconds": 4, "max_validation_samples": 9}
    measured = figures_of_run(recipe, {"kl": 1.0, "step": 7.0}, None)
    text = model_card(title="a", model_class=WaveformVAE, summary=VAE, sampling_rate=8000, figures=measured)
    assert "Measured on `sounds`, the first 4 s of each of at most 9 items" in text
    assert "/home" not in text
    (result,) = ModelCard(text).data.eval_results
    assert (result.dataset_name, result.dataset_type, result.metric_type) == ("sounds", "audiofolder", "kl")


def test_a_card_is_known_by_its_tag(tmp_path) -> None:
    path = tmp_path / "README.md"
    assert read_card(path) is None
    for text, known in (
        (card(MEASURED), True),
        (
            "---\ntags: [audio, vae, autoencoder, hf-audio-vae]\n---\n# of an earlier version\n",
            True,
        ),
        ("---\ntags: [mine]\n---\n# Notes\n", False),
        ("hf-audio-vae", False),
        ("---\n- hf-audio-vae\n---\n", False),
        ("---\ntags: hf-audio-vae: x\n---\n", False),
        ("", False),
    ):
        path.write_text(text)
        assert (read_card(path) is not None) == known, text


def test_a_summary_is_read_off_the_model() -> None:
    with torch.random.fork_rng():
        model = WaveformVAE(
            encoder_hidden_size=4,
            decoder_channels=4,
            downsampling_ratios=(2, 5),
            channel_multiples=(1, 2),
            decoder_input_channels=4,
            audio_channels=2,
            sampling_rate=8000,
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert model_summary(model) == {
        "parameters": f"{parameters / 1e6:.2f} M",
        "sampling rate": "8000 Hz",
        "audio channels": "2",
        "latents": "4 channels at 800.00 Hz",
        "samples per latent number": "5.0",  # 16,000 samples and 3,200 numbers a second
    }


class Codec:
    """What a card reads off a codec."""

    class config:  # noqa: N801
        audio_channels = 1

    codebook_sizes = (1024,) * 9
    codebook_hop_lengths = (512,) * 9
    sampling_rate = 44100
    bits_per_second = 90 * 44100 / 512

    def parameters(self):
        return iter([torch.zeros(1000, 70)])


class HierarchicalCodec(Codec):
    codebook_sizes = (2048, 2048, 512)
    codebook_hop_lengths = (8, 32, 128)
    bits_per_second = 11 * 44100 / 8  # of the finest level, which is decoded by itself


@pytest.mark.parametrize(
    ("model", "codes", "factor"),
    [
        (Codec(), "9 x 1024 at 86.13 Hz, 7.75 kbit/s", "91.0"),  # 44,100 * 16 bits beside 90 bits each 512 samples
        (
            HierarchicalCodec(),
            "1 x 2048 at 5512.50 Hz, 60.64 kbit/s; 1 x 2048 at 1378.12 Hz, 15.16 kbit/s; "
            "1 x 512 at 344.53 Hz, 3.10 kbit/s",
            "11.6",
        ),
    ],
)
def test_the_summary_of_a_codec_tells_its_codes(model, codes, factor):
    assert model_summary(model) == {
        "parameters": "0.07 M",
        "sampling rate": "44100 Hz",
        "audio channels": "1",
        "codes": codes,
        "bitrate of 16 bit samples over that of codes": factor,
    }
