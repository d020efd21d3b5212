"""A Space of the Hub with the studio. The variable `STUDIO_ARGUMENTS` of the Space names models and other options."""

import os
import shlex
import sys

from hf_audio_vae.cli.main import main

if __name__ == "__main__":
    arguments = shlex.split(os.environ.get("STUDIO_ARGUMENTS", ""))
    sys.exit(main(["studio", *arguments, "--server_name", "0.0.0.0", "--server_port", "7860"]))
