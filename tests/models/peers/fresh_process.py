"""Reconstructs a sound with all models of a folder by their original classes; this package is not imported.

python fresh_process.py FOLDER
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import load_file, save_file


@torch.no_grad()
def main() -> None:
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        library = diffusers if hasattr(diffusers, folder.name) else transformers
        model = getattr(library, folder.name).from_pretrained(folder).eval()
        given = load_file(folder / "given.safetensors")
        decoded = model.decode(given["frames"])
        if not isinstance(decoded, torch.Tensor):
            decoded = next(iter(decoded.values()))
        save_file({"decoded": decoded.contiguous()}, folder / "decoded.safetensors")
    assert "hf_audio_vae" not in sys.modules
    print(json.dumps(sys.argv[1]))


if __name__ == "__main__":
    main()
