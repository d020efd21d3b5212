"""Makes the models here known to diffusers and to transformers.

diffusers keeps, in a private table, the libraries whose classes a `model_index.json` may name without a module path:
`["hf_audio_vae", "WaveformVAE"]`. Where a version has no such table, pipelines still save and load locally, by that
path. transformers has a public one, by the `model_type` of a configuration.
"""

import importlib

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from hf_audio_vae.models import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    WaveformVQVAE,
    WaveformVQVAEConfig,
    WaveformVQVAEFeatureExtractor,
)

TABLE = "diffusers.pipelines.pipeline_loading_utils"


def register() -> bool:
    """Add this package to both; return whether diffusers has its table."""
    for config, model in ((WaveformVQVAEConfig, WaveformVQVAE), (HierarchicalVQVAEConfig, HierarchicalVQVAE)):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, model, exist_ok=True)
        AutoFeatureExtractor.register(config, WaveformVQVAEFeatureExtractor, exist_ok=True)
    try:
        table = importlib.import_module(TABLE).LOADABLE_CLASSES
    except (ImportError, AttributeError):
        return False
    table.setdefault("hf_audio_vae", {"ModelMixin": ["save_pretrained", "from_pretrained"]})
    return True
