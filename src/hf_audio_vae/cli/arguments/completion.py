"""Print a script that completes commands, options and files in a shell.

bash:
    mkdir -p ~/.local/share/bash-completion/completions
    hf-audio-vae completion bash > ~/.local/share/bash-completion/completions/hf-audio-vae
zsh, in a folder of $fpath:
    hf-audio-vae completion zsh > ~/.zfunc/_hf-audio-vae
"""

import argparse

SHELLS = ("bash", "zsh", "tcsh")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter  # lines to paste
    parser.add_argument("shell", choices=SHELLS)
