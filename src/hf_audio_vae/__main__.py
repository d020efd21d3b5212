"""`python -m hf_audio_vae` is `hf-audio-vae`."""

import sys

from hf_audio_vae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
