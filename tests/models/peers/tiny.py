"""All published classes with tiny sizes and random weights."""

from importlib.util import find_spec
from typing import Any

import pytest

from tests.models.peers.tiny_codecs import CODECS
from tests.models.peers.tiny_models import Tiny
from tests.models.peers.tiny_vaes import VAES

TINY: dict[str, Tiny] = VAES | CODECS


def buildable(names: Any) -> list[Any]:
    """Names as parameters of tests, which are skipped where a library is missing."""
    names = sorted(names)
    libraries = {name: TINY[name].needs for name in names if name in TINY}
    return [
        pytest.param(name, marks=pytest.mark.skipif(not find_spec(library), reason=f"{library} is not installed"))
        if (library := libraries.get(name))
        else name
        for name in names
    ]
