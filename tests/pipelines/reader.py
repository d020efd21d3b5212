"""What a user does with a pipeline: load it and generate. As a script it does so in a process of its own.

The process is another because diffusers reads the Hub's address and its cache when it is imported, and because a
package that was imported once cannot be missing any more.
"""

import os
import subprocess
import sys
from pathlib import Path

import torch
from diffusers import DiffusionPipeline
from torch import Tensor


def load(place: str | Path, pipeline_class: type = DiffusionPipeline, **options: object) -> DiffusionPipeline:
    """Load with weights that are read, not memory-mapped.

    A map leaves them where the file has them, not where torch aligns them, and a CPU rounds some products otherwise.
    """
    return pipeline_class.from_pretrained(place, disable_mmap=True, **options)


def generate(pipeline: DiffusionPipeline, **arguments: object) -> Tensor:
    """Generate with every source of chance seeded."""
    pipeline.set_progress_bar_config(disable=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # where AceStepPipeline draws from the posterior of a sound
        generator = torch.Generator().manual_seed(0)
        return pipeline("a drum", generator=generator, **{"num_inference_steps": 3, **arguments}).audios


def read_elsewhere(
    place: str | Path,
    folder: Path,
    arguments: dict[str, object],
    *,
    with_package: bool,
    trust_remote_code: bool = False,
    hub: dict[str, str] | None = None,
) -> subprocess.CompletedProcess:
    """Run this file; what it generated is in ``folder / "audio.pt"``."""
    torch.save(arguments, folder / "arguments.pt")
    words = [str(place), str(folder), f"{with_package=:d}", f"{trust_remote_code=:d}"]
    cache = {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    environment = os.environ | cache | (hub or {})
    return subprocess.run([sys.executable, __file__, *words], env=environment, capture_output=True, text=True)


def main(place: str, folder: str, *flags: str) -> None:
    torch.set_num_threads(1)
    if "with_package=1" in flags:
        import hf_audio_vae  # noqa: F401
    else:
        sys.modules["hf_audio_vae"] = None  # to import it is now an ImportError
    pipeline = load(place, trust_remote_code="trust_remote_code=1" in flags)
    arguments = torch.load(Path(folder) / "arguments.pt")
    torch.save(generate(pipeline, **arguments), Path(folder) / "audio.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
