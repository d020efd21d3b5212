import pytest
import torch

from hf_audio_vae.evaluation import CodeStatistics, LatentStatistics
from hf_audio_vae.evaluation.reports import (
    CODE_METRICS,
    LATENT_METRICS,
    METRICS,
    channels_table,
    codebooks_table,
    metrics_table,
    table,
)
from hf_audio_vae.modules.distributions import DiagonalGaussian

MEASURED = {name: 1.2344 + 10 * i for i, name in enumerate(METRICS)}
LATENTS = {name: 501.2344 + 10 * i for i, name in enumerate(LATENT_METRICS)}
CODES = {name: 901.2344 + 10 * i for i, name in enumerate(CODE_METRICS)}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


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


def test_no_name_ends_a_cell_or_a_row():
    lines = table(["name", "x|y"], [["a\nb", 1.0], ["a|b", 2.0], ["a\r\nb", 3.0]]).split("\n")
    assert [line.split(" ")[1] for line in (*lines[:1], *lines[2:])] == ["name", "a\\nb", "a\\|b", "a\\r\\nb"]
    assert lines[0].endswith(" x\\|y |")


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
    text = metrics_table({"value": measured})
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


def test_the_channels_are_told_by_falling_kl():
    lines = channels_table(statistics()).split("\n")
    assert [cells(line) for line in lines[2:]] == [
        # KL of unit variance: mean square / 2; bits at 10 frames a second; two points 3 apart: -2 / (1 + 1 / 1.5²)².
        ["1", "1.250", "18.034", "True", "0.500", "1.803", "-0.959"],
        ["2", "0.125", "1.803", "False", "0.500", "1.000", "0.000"],
        ["0", "0.000", "0.000", "False", "0.000", "1.000", "0.000"],
    ]


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
