"""Lets diffusers' pipelines save and load the models here as components: `["hf_audio_vae", "WaveformVAE"]`.

diffusers keeps, in a private table, the libraries whose classes a `model_index.json` may name without a module path.
Where a version has no such table, pipelines still save and load locally, by that path.
"""

import importlib

TABLE = "diffusers.pipelines.pipeline_loading_utils"


def register() -> bool:
    """Add this package to diffusers' table; return whether there is one."""
    try:
        table = importlib.import_module(TABLE).LOADABLE_CLASSES
    except (ImportError, AttributeError):
        return False
    table.setdefault("hf_audio_vae", {"ModelMixin": ["save_pretrained", "from_pretrained"]})
    return True
