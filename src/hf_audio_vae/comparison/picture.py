"""Quality over bitrate: models as points, codecs of files as curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hf_audio_vae.comparison.results import Results
from hf_audio_vae.comparison.systems import is_anchor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_INCHES = (4.2, 3.6)


def rate_quality_figure(results: Results, panels: dict[str, str]) -> "Figure":
    """Draw metrics over the bitrate.

    The bitrate of a VAE is its KL, the cost of coding a sample of the posterior. The bitrate of a codec is the size of
    its codes. The bitrate of a codec of files is counted from the bytes of the files. Error bars are 95 % intervals.

    Args:
        results (`Results`): Results of several systems.
        panels (`dict[str, str]`): Label of each metric or distance to draw, by its name.
    """
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    names = [name for name in panels if any(name in column for column in results.columns().values())]
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * max(len(names), 1), height), layout="constrained")
    for name, axes in zip(names, figure.subplots(1, max(len(names), 1), squeeze=False)[0], strict=False):
        _draw(axes, results, name)
        axes.set(xlabel="kbit/s", ylabel=panels[name], xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    handles: list[Any] = [handle for handle in figure.axes[0].containers if isinstance(handle, ErrorbarContainer)]
    labels = [str(handle.get_label()) for handle in handles]  # matplotlib itself leaves out those that begin with "_"
    legend = figure.legend(handles, labels, loc="outside right upper", fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name may have dollar signs
    return figure


def _draw(axes: "Axes", results: Results, name: str) -> None:
    columns = results.columns()
    curves: dict[str, list[str]] = {}  # systems by their curve
    for system in results.names:
        if name in columns[system] and results.rate(system) is not None:
            curves.setdefault(system.partition("@")[0] if is_anchor(system) else system, []).append(system)
    for curve, systems in curves.items():
        rates = {system: (results.rate(system) or 0.0) / 1000 for system in systems}
        ordered = sorted(systems, key=rates.__getitem__)
        values = [columns[system][name] for system in ordered]
        anchor = is_anchor(ordered[0])
        axes.errorbar(
            [rates[system] for system in ordered],
            values,
            yerr=_bars(results, ordered, name),
            marker="." if anchor else "o",
            linestyle="-" if anchor else "none",
            color={"opus": "0.3", "mp3": "0.6", "vorbis": "0.75"}.get(curve) if anchor else None,
            capsize=2,
            label=curve,
        )


def _bars(results: Results, systems: Sequence[str], name: str) -> list[list[float]] | None:
    """Return lengths of the error bars below and above; `None` for a distance between sets."""
    intervals = [results.means[system].get(name) for system in systems]
    found = [interval for interval in intervals if interval is not None]
    if len(found) < len(intervals):
        return None
    return [[i.mean - i.low for i in found], [i.high - i.mean for i in found]]
