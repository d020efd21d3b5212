"""Colours and shapes of classes, the same in the picture and on the page."""

from dataclasses import dataclass

# Each has a contrast of 3 or more to both backgrounds of the page.
COLORS = ("#1f77b4", "#e8710a", "#2ca02c", "#d62728", "#9467bd", "#8f5a4e", "#d65cb0", "#8f8f12", "#0f97a5")
UNLABELLED = "#7f7f7f"
SHAPES = ("circle", "square", "triangle", "diamond", "cross")


@dataclass(frozen=True)
class Style:
    """How points of a class are drawn.

    Args:
        color (`str`): Hexadecimal sRGB.
        shape (`str`): One of `SHAPES`.
    """

    color: str
    shape: str


def style_of(number: int, label: str | None) -> Style:
    """Return the style of a class by its number; after all colours the shape changes, after all shapes both repeat."""
    if label is None:
        return Style(UNLABELLED, SHAPES[0])
    return Style(COLORS[number % len(COLORS)], SHAPES[number // len(COLORS) % len(SHAPES)])
