"""Refuse `python -OO` in one line: without docstrings, transformers cannot be imported."""

import sys

if sys.flags.optimize > 1:
    sys.exit("hf-audio-vae: transformers needs docstrings; run Python without -OO and PYTHONOPTIMIZE=2.")
