"""Print a script that completes commands, options and files in a shell.

bash: hf-audio-vae completion bash > ~/.local/share/bash-completion/completions/hf-audio-vae
zsh: hf-audio-vae completion zsh > ~/.zfunc/_hf-audio-vae, in a folder of $fpath
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))
