"""Registers the models of this package with diffusers and transformers.

A private table of diffusers lists the libraries whose classes may appear in `model_index.json` without a module path:
`["hf_audio_vae", "WaveformVAE"]`. If a version has no such table, pipelines still save and load locally, with the
module path. transformers has a public registry, by the `model_type` of a configuration.

`AutoModel` and `DiffusionPipeline` of diffusers look for the class that a folder names among the attributes of
diffusers itself, and have no registry. The classes of this package are added there, unless diffusers has a class of
that name.
"""

import importlib

import diffusers

from hf_audio_vae.models import FAMILIES, LatentConditioner, MelVAE, TokenVAE
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline

TABLE = "diffusers.pipelines.pipeline_loading_utils"


def register() -> bool:
    """Register with both libraries; return whether diffusers has the table."""
    for family in FAMILIES.values():
        family.register()
    TokenVAE.register()
    for named in (*FAMILIES.values(), MelVAE, LatentConditioner, AudioLatentDiffusionPipeline):
        if issubclass(named, diffusers.ConfigMixin) and not hasattr(diffusers, named.__name__):
            setattr(diffusers, named.__name__, named)
    try:
        table = importlib.import_module(TABLE).LOADABLE_CLASSES
    except (ImportError, AttributeError):
        return False
    table.setdefault("hf_audio_vae", {"ModelMixin": ["save_pretrained", "from_pretrained"]})
    return True
