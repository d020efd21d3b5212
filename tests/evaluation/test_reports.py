import pytest
import torch
import yaml

from hf_audio_vae.evaluation import CodeStatistics, LatentStatistics
from hf_audio_vae.evaluation.reports import (
    CODE_METRICS,
    LATENT_METRICS,
    METRICS,
    channels_table,
    codebooks_table,
    metrics_table,
    model_card,
    model_summary,
    table,
)
from hf_audio_vae.models import WaveformVAE, WaveformVQVAE
from hf_audio_vae.modules.distributions import DiagonalGaussian

MEASURED = {name: 1.2344 + 10 * i for i, name in enumerate(METRICS)}
LATENTS = {name: 501.2344 + 10 * i for i, name in enumerate(LATENT_METRICS)}
CODES = {name: 901.2344 + 10 * i for i, name in enumerate(CODE_METRICS)}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def card(
    metrics: dict[str, float], model_class: type = WaveformVAE, library: str = "diffusers", **summary: str
) -> str:
    return model_card(
        title="someone/a-model",
        model_class=model_class,
        library=library,
        summary={"parameters": "1.23 M", "sampling rate": "44100 Hz"} | summary,
        metrics=metrics,
        material="the held-out sounds",
    )


def test_the_columns_of_a_table_are_aligned():
    text = table(["name", "a", "long heading"], [["x", 1.0, 123456.0], ["a longer name", -0.5, 2.0]])
    lines = text.split("\n")
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, character in enumerate(line) if character == "|") for line in lines}) == 1


def test_a_table_says_what_it_was_given():
    lines = table(["name", "a", "b"], [["x", 1.23456, 7.0], ["y", "text", 3]]).split("\n")
    assert [cells(line) for line in lines if "--" not in line] == [
        ["name", "a", "b"],
        ["x", "1.235", "7.000"],
        ["y", "text", "3"],
    ]


def test_numbers_stand_on_the_right_and_names_on_the_left():
    lines = table(["name", "value"], [["x", 1.0], ["longer", 100.0]]).split("\n")
    assert lines[1] == "|--------|--------:|"
    assert lines[2] == "| x      |   1.000 |"


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ValueError):
        table(["name", "a"], [["x", 1.0, 2.0]])


def test_a_table_of_metrics_has_every_figure_once():
    columns = {"before": MEASURED, "after": {name: value + 100 for name, value in MEASURED.items()}}
    lines = metrics_table(columns).split("\n")
    assert cells(lines[0]) == ["metric", "before", "after"]
    assert [cells(line) for line in lines[2:]] == [
        [label, f"{MEASURED[name]:.3f}", f"{MEASURED[name] + 100:.3f}"] for name, label in METRICS.items()
    ]


@pytest.mark.parametrize("missing", METRICS)
def test_a_metric_that_was_not_measured_has_no_row(missing):
    measured = {name: value for name, value in MEASURED.items() if name != missing}
    for text in (metrics_table({"value": measured}), card(measured)):
        assert f"| {METRICS[missing]} " not in text
        assert all(f"| {METRICS[name]} " in text and f" {value:.3f} |" in text for name, value in measured.items())


def test_a_metric_that_one_column_lacks_keeps_the_others_figure():
    text = metrics_table({"before": {"si_sdr_db": 1.0}, "after": {"si_sdr_db": 2.0, "kl": 3.0}})
    assert cells(text.split("\n")[2])[1:] == ["1.000", "2.000"]
    assert "3.000" in cells(text.split("\n")[3])


def statistics() -> LatentStatistics:
    """Two collapsed channels, and between them one that tells two points apart."""
    mean = torch.tensor([[0.0, 0.0], [2.0, -1.0], [0.5, 0.5]]).double()
    result = LatentStatistics(frame_rate=10.0)
    result.add(DiagonalGaussian(mean[None], torch.ones(1, 3, 2)))
    return result


def test_the_summary_of_the_latents_is_what_has_labels():
    assert list(statistics().summary()) == list(LATENT_METRICS)
    assert not LATENT_METRICS.keys() & METRICS.keys()


def test_a_table_tells_latents_where_they_were_measured():
    lines = metrics_table({"before": {"si_sdr_db": 1.0}, "after": {"si_sdr_db": 2.0} | LATENTS}).split("\n")
    assert [cells(line) for line in lines[3:]] == [
        [label, "–", f"{LATENTS[name]:.3f}"] for name, label in LATENT_METRICS.items()
    ]


def test_a_card_tells_and_defines_the_latents_figures_if_they_were_measured():
    with_latents, without = card(MEASURED | LATENTS), card(MEASURED)
    assert with_latents.startswith(without)
    added = with_latents.removeprefix(without)
    rows = [cells(line) for line in added.split("\n") if line.startswith("| ")]
    assert rows[1:] == [[label, f"{LATENTS[name]:.3f}"] for name, label in LATENT_METRICS.items()]
    assert "at least 0.01" in added
    assert all(word in added for word in ("active", "effective rank", "mismatch"))
    assert not any(label in without for label in LATENT_METRICS.values())


def test_the_channels_are_told_by_falling_kl():
    lines = channels_table(statistics()).split("\n")
    assert [cells(line) for line in lines[2:]] == [
        # KL of unit variance: mean square / 2; bits at 10 frames a second; two points 3 apart: -2 / (1 + 1 / 1.5²)².
        ["1", "1.250", "18.034", "True", "0.500", "1.803", "-0.959"],
        ["2", "0.125", "1.803", "False", "0.500", "1.000", "0.000"],
        ["0", "0.000", "0.000", "False", "0.000", "1.000", "0.000"],
    ]


def test_every_figure_of_a_card_is_one_that_was_passed_in():
    text = card(MEASURED)
    rows = [cells(line) for line in text.split("\n") if line.startswith("| ")]
    assert ["parameters", "1.23 M"] in rows
    assert ["sampling rate", "44100 Hz"] in rows
    assert [row for row in rows if row[0] in METRICS.values()] == [
        [label, f"{MEASURED[name]:.3f}"] for name, label in METRICS.items()
    ]
    assert len(rows) == 2 + 2 + len(METRICS)  # with a heading each


def test_a_card_starts_with_yaml_that_the_hub_reads():
    opening, metadata, text = card(MEASURED).split("---\n", 2)
    assert opening == ""
    assert yaml.safe_load(metadata) == {
        "library_name": "diffusers",
        "tags": ["audio", "vae", "autoencoder", "hf-audio-vae"],
    }
    assert text.lstrip().startswith("# someone/a-model\n")


def test_a_card_shows_python_that_compiles():
    code = card(MEASURED).split("```python\n")[1].split("```")[0]
    compile(code, "card", "exec")
    assert 'WaveformVAE.from_pretrained("someone/a-model")' in code


def test_a_card_names_the_material():
    assert "Measured on the held-out sounds" in card(MEASURED)


def test_a_summary_is_read_off_the_model():
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


def code_statistics() -> CodeStatistics:
    """A codebook that uses all of four codes alike, and one that uses one of two."""
    result = CodeStatistics((4, 2), (10.0, 5.0))
    result.add((torch.arange(4).repeat(2)[None, None], torch.ones(1, 1, 3, dtype=torch.int64)))
    return result


def test_the_summary_of_the_codes_is_what_has_labels():
    assert list(code_statistics().summary()) == list(CODE_METRICS)
    assert not CODE_METRICS.keys() & (METRICS | LATENT_METRICS).keys()


def test_the_codebooks_are_told_in_their_order():
    lines = codebooks_table(code_statistics()).split("\n")
    assert [cells(line) for line in lines[2:]] == [
        ["0 (of 4 codes)", "8", "4.000", "1.000", "0", "2.000", "1.000", "20.000", "20.000"],
        ["1 (of 2 codes)", "3", "1.000", "0.500", "1", "0.000", "0.000", "5.000", "0.000"],
    ]


def test_a_table_tells_codes_where_they_were_measured():
    lines = metrics_table({"before": {"commitment": 1.0}, "after": {"commitment": 2.0} | CODES}).split("\n")
    assert [cells(line) for line in lines[3:]] == [
        [label, "–", f"{CODES[name]:.3f}"] for name, label in CODE_METRICS.items()
    ]


def test_a_card_tells_and_defines_the_codes_figures_if_they_were_measured():
    with_codes, without = card(MEASURED | CODES, codes="9 x 1024"), card(MEASURED, codes="9 x 1024")
    assert with_codes.startswith(without)
    added = with_codes.removeprefix(without)
    rows = [cells(line) for line in added.split("\n") if line.startswith("| ")]
    assert rows[1:] == [[label, f"{CODES[name]:.3f}"] for name, label in CODE_METRICS.items()]
    assert all(word in added for word in ("entropy", "perplexity", "efficiency", "Usage"))
    assert not any(label in without for label in CODE_METRICS.values())


def test_a_card_names_library_and_kind_of_a_codec():
    text = card(MEASURED, model_class=WaveformVQVAE, library="transformers", codes="9 x 1024")
    assert yaml.safe_load(text.split("---\n", 2)[1]) == {
        "library_name": "transformers",
        "tags": ["audio", "audio-codec", "autoencoder", "hf-audio-vae"],
    }
    assert "posterior" not in text
    assert "from its codes" in text
    assert 'WaveformVQVAE.from_pretrained("someone/a-model")' in text


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
