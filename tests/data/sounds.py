import io
from functools import cache

import numpy as np
import soundfile

RATE = 8000


@cache  # the header holds the time
def encoded(value: float, seconds: float = 0.5, rate: int = RATE) -> bytes:
    """A wav whose samples all have one value, so that a crop tells which file it came from."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(round(seconds * rate), value, dtype=np.float32), rate, "FLOAT", format="WAV")
    return buffer.getvalue()
