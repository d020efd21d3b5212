# /// script
# requires-python = ">=3.11"
# dependencies = ["hf-audio-vae[train]"]
# ///
"""Train an autoencoder in a job of the Hub: `hf-audio-vae train`, on a machine whose disk is lost at the end.

hf jobs uv run --flavor a10g-small --timeout 6h --secrets HF_TOKEN training/jobs/train_job.py OWNER/SOUNDS
    --recipe stft-vae-24khz --output_dir outputs/mine --push_to_hub --hub_model_id OWNER/NAME
"""

import sys
from collections.abc import Sequence

from hf_audio_vae.cli.main import main


def train_job(argv: Sequence[str]) -> int:
    """Run `hf-audio-vae train` and return its exit code; 2 if `--push_to_hub` is not given."""
    if not any(argument.partition("=")[0] == "--push_to_hub" for argument in argv):
        print(
            "the model would be lost with the job: give --push_to_hub; --push_to_hub false tries it", file=sys.stderr
        )
        return 2
    return main(["train", *argv])


if __name__ == "__main__":
    sys.exit(train_job(sys.argv[1:]))
