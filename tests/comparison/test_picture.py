"""The picture of quality over bitrate."""

from matplotlib.backends.backend_agg import FigureCanvasAgg

from hf_audio_vae.comparison.items import Item
from hf_audio_vae.comparison.picture import rate_quality_figure
from hf_audio_vae.comparison.results import FILE_RATE, Results
from hf_audio_vae.comparison.systems import AnchorSystem


class Named(AnchorSystem):
    """A model that is measured like an anchor, with another name."""

    def __init__(self, name: str) -> None:
        super().__init__("opus@16")
        self.name = name


def test_every_system_is_in_the_legend_by_its_literal_name() -> None:
    names = ["_hidden", r"cost_$^$", "run@1", "run@2"]
    systems = [*map(Named, names), AnchorSystem("opus@16"), AnchorSystem("opus@32")]
    figures = {
        system.name: {"si_sdr_db": 1.0 + index, FILE_RATE: 1000.0 + index} for index, system in enumerate(systems)
    }
    items = [Item(str(index), 1.0, figures, health={name: {} for name in figures}) for index in range(2)]
    figure = rate_quality_figure(Results(items, systems, {"si_sdr_db": True}, {}), {"si_sdr_db": "SI-SDR"})
    FigureCanvasAgg(figure).draw()  # raises an error if a name is read as a formula
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [*names, "opus"], "only opus is a curve of two rates"
