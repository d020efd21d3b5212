"""The `studio` command."""

import argparse
import math
import signal
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar

import torch

from hf_audio_vae.cli.arguments.studio import PORT
from hf_audio_vae.cli.code_sounds import priors_of
from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.cli.priors import stored_prior
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.latents import AttributeVector
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline

if TYPE_CHECKING:
    from hf_audio_vae.studio import Workshop

NameT = TypeVar("NameT", str, Path)
MAX_PORT = 65535
LOCATION = argparse.Namespace(subfolder=None, revision=None, variant=None, torch_dtype=None)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check(arguments)
    from hf_audio_vae.studio import build_app  # Gradio takes seconds to import, and the arguments may be wrong

    with tempfile.TemporaryDirectory(prefix="hf-audio-vae-studio-") as folder:  # only this user may read it
        app = build_app(workshop_of(arguments, Path(folder)))
        app.launch(
            server_name=arguments.server_name,
            server_port=arguments.server_port,
            max_file_size=round(arguments.max_megabytes * 1e6),
            share=False,
            ssr_mode=False,
            footer_links=[],
            prevent_thread_lock=True,
            quiet=True,
        )
        print(f"the studio is at {app.local_url} until Ctrl-C", flush=True)
        wait_for_the_end()
        app.close(verbose=False)


def check(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` if a number is out of its range, or a model is named twice."""
    check_seconds(arguments.max_seconds)
    if not 0 < arguments.max_megabytes < math.inf:
        raise ValueError(f"--max_megabytes is {arguments.max_megabytes}; give a size above 0, such as 50.")
    if arguments.server_port is not None and not 1 <= arguments.server_port <= MAX_PORT:
        raise ValueError(f"--server_port is {arguments.server_port}; give 1 to {MAX_PORT}, such as {PORT}.")
    for option in ("models", "pipeline", "language_model", "vector"):
        names = [str(name) for name in getattr(arguments, option)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is named twice; name it once.")


def workshop_of(arguments: argparse.Namespace, folder: Path) -> "Workshop":
    """Load all models of the arguments.

    Raises:
        ValueError: A model cannot be loaded, or a vector belongs to none of the models.
    """
    from hf_audio_vae.studio import CodeGenerator, Workshop

    models = {shown: load_coder(name, LOCATION) for shown, name in shown_names(arguments.models).items()}
    priors = {
        shown: stored_prior(argparse.Namespace(model=name, **vars(LOCATION)), models[shown])
        for shown, name in shown_names(arguments.models).items()
        if not models[shown].codebook_sizes
    }
    return Workshop(
        models,
        folder,
        max_seconds=arguments.max_seconds,
        priors={name: prior for name, prior in priors.items() if prior is not None},
        vectors={shown: AttributeVector.load(path) for shown, path in shown_names(arguments.vector).items()},
        pipelines={shown: pipeline_of(name) for shown, name in shown_names(arguments.pipeline).items()},
        code_generators={
            shown: CodeGenerator(*priors_of(argparse.Namespace(model=name, upsampler=None, autoencoder=None)))
            for shown, name in shown_names(arguments.language_model).items()
        },
    )


def shown_names(names: Sequence[NameT]) -> dict[str, NameT]:
    """Return the names by what the page shows: their last part, or all of a name if two have the same last part."""
    last = [printable(PurePath(name).stem if isinstance(name, Path) else PurePath(name).name) for name in names]
    return {
        part if part and last.count(part) == 1 else printable(name): name
        for part, name in zip(last, names, strict=True)
    }


def pipeline_of(name: str) -> AudioLatentDiffusionPipeline:
    """Load a pipeline to the best device, tiled."""
    pipeline = AudioLatentDiffusionPipeline.from_pretrained(name)
    pipeline.vae.enable_tiling()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def wait_for_the_end() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
