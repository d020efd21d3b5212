"""The `studio` command."""

import argparse
import errno
import math
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, TypeVar

import torch

from hf_audio_vae.cli.arguments.studio import PORT
from hf_audio_vae.cli.code_sounds import priors_of
from hf_audio_vae.cli.outputs import printable
from hf_audio_vae.cli.priors import stored_prior
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.latents import AttributeVector
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline

NameT = TypeVar("NameT", str, Path)
MAX_PORT = 65535
ADDRESSES = "give 127.0.0.1, or 0.0.0.0 for all networks of this machine"
LOCATION = argparse.Namespace(subfolder=None, revision=None, variant=None, torch_dtype=None)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check(arguments)
    check_address(arguments.server_name, arguments.server_port)
    # Gradio takes seconds to import, and the arguments may be wrong.
    from hf_audio_vae.studio import Workshop, build_app

    parts, ended = parts_of(arguments), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # before there is a folder, which is deleted at the end
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="hf-audio-vae-studio-") as folder:  # only this user may read it
        app = build_app(Workshop(folder=Path(folder), max_seconds=arguments.max_seconds, **parts))
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
        ended.wait()
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


def check_address(server_name: str, server_port: int | None) -> None:
    """Raise `ValueError` unless the app can listen there; Gradio would try 100 ports for a minute."""
    try:
        family, *_, address = socket.getaddrinfo(server_name, server_port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            if os.name != "nt":  # where it would share the port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(f"--server_name {server_name!r} is no address; {ADDRESSES}.") from error
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(f"--server_name {server_name!r} is no address of this machine; {ADDRESSES}.") from error
        raise ValueError(
            f"--server_port {server_port} cannot be used: {error.strerror}; give another one, or leave it out."
        ) from error


def parts_of(arguments: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """Load all models of the arguments, as arguments of `Workshop`; raises `ValueError` if one cannot be loaded."""
    from hf_audio_vae.studio import CodeGenerator

    models = {shown: load_coder(name, LOCATION) for shown, name in shown_names(arguments.models).items()}
    priors = {
        shown: stored_prior(argparse.Namespace(model=name, **vars(LOCATION)), models[shown])
        for shown, name in shown_names(arguments.models).items()
        if not models[shown].codebook_sizes
    }
    return {
        "models": models,
        "priors": {name: prior for name, prior in priors.items() if prior is not None},
        "vectors": {shown: AttributeVector.load(path) for shown, path in shown_names(arguments.vector).items()},
        "pipelines": {shown: pipeline_of(name) for shown, name in shown_names(arguments.pipeline).items()},
        "code_generators": {
            shown: CodeGenerator(*priors_of(argparse.Namespace(model=name, upsampler=None, autoencoder=None)))
            for shown, name in shown_names(arguments.language_model).items()
        },
    }


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
