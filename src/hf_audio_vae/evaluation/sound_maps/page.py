"""The page of a map: one file of HTML with its data and sounds, which needs no network."""

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hf_audio_vae.evaluation.sound_maps.sound_map import SoundMap
from hf_audio_vae.evaluation.sound_maps.styles import style_of

TEMPLATE = Path(__file__).with_name("page.html")
UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}  # in a script element


def map_page(sound_map: SoundMap, sounds: Sequence[bytes], title: str) -> str:
    """Return a page on which a click on a point plays its sound and lists its neighbours.

    Names are data of the page and never its code. A policy in its head allows the page's own script alone, and no
    network.

    Args:
        sound_map (`SoundMap`): The map.
        sounds (`Sequence[bytes]`): MP3 of each clip, such as of `mp3_preview`; empty for a page without sound.
        title (`str`): Title of the page.

    Raises:
        ValueError: The numbers of sounds and clips differ.
    """
    if sounds and len(sounds) != len(sound_map.clips):
        raise ValueError(f"there are {len(sounds)} sounds for {len(sound_map.clips)} clips; give one each, or none.")
    template = TEMPLATE.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", template, flags=re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", template, flags=re.DOTALL)
    values = {
        "POLICY": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; media-src data:",
        "TITLE": html.escape(title),
        "DATA": _embedded(_data(sound_map, title)),
        "SOUNDS": _embedded([base64.b64encode(sound).decode() for sound in sounds]),
    }
    # All at once: a title may hold the name of another place.
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda match: values[match[1]], template)


def _data(sound_map: SoundMap, title: str) -> dict[str, Any]:
    labels = sound_map.labels
    numbers = {label: number for number, label in enumerate(labels)}
    counts = Counter(clip.label for clip in sound_map.clips)
    indices, distances = sound_map.neighbours.indices.tolist(), sound_map.neighbours.distances.tolist()
    styles = [style_of(number, label) for number, label in enumerate(labels)]
    return {
        "title": title,
        "axes": list(sound_map.projection.labels),
        "classes": [
            {"name": label, "count": counts[label], "color": style.color, "shape": style.shape}
            for label, style in zip(labels, styles, strict=True)
        ],
        "points": [
            {
                "name": clip.name,
                "class": numbers[clip.label],
                "seconds": clip.seconds,
                "coordinates": coordinates,
                "neighbours": list(zip(indices[index], distances[index], strict=True)),
            }
            for index, (clip, coordinates) in enumerate(
                zip(sound_map.clips, sound_map.projection.coordinates.tolist(), strict=True)
            )
        ],
    }


def _embedded(value: Any) -> str:
    """Return JSON that cannot end the element it is in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(UNSAFE)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
