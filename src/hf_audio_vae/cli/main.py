"""`hf-audio-vae VERB ...`: one file a verb, each with `add_arguments` and `run`."""

import argparse
import sys
from collections.abc import Sequence

from hf_audio_vae.cli import decode, encode, evaluate, reconstruct

VERBS = {"reconstruct": reconstruct, "encode": encode, "decode": decode, "evaluate": evaluate}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    What cannot be done is one line on stderr and exit code 2; a traceback is a bug.
    """
    parser = argparse.ArgumentParser(prog="hf-audio-vae", description="Use a trained audio autoencoder.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in VERBS.items():
        summary = (module.__doc__ or "").strip().splitlines()[0]
        module.add_arguments(verbs.add_parser(name, help=summary, description=module.__doc__))
    arguments = parser.parse_args(argv)
    try:
        VERBS[arguments.verb].run(arguments)
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"hf-audio-vae {arguments.verb}: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
