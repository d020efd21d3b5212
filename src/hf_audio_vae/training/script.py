import sys
from collections.abc import Callable

from hf_audio_vae.data.streaming import TooManyBadItemsError
from hf_audio_vae.training.loop import NonFiniteLossError


def main_or_exit(main: Callable[[list[str]], None]) -> None:
    """Run a script's `main(argv)`: what cannot be done is one message and exit code 2, a run that failed is 1."""
    try:
        main(sys.argv[1:])
    except (ValueError, OSError, TooManyBadItemsError, NonFiniteLossError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ValueError | OSError) else 1)
