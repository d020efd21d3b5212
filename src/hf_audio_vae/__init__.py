"""Audio autoencoders for the Hugging Face ecosystem."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_audio_vae.interpreter import check_interpreter, runs_the_command

check_interpreter()
if TYPE_CHECKING or not runs_the_command():
    from hf_audio_vae.public import *  # noqa: F403
    from hf_audio_vae.public import __all__ as __all__
else:

    def __getattr__(name: str) -> Any:
        """Import the public names when one is used: the command answers `--help` without torch."""
        public = import_module("hf_audio_vae.public")
        if name not in public.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(public, name)
