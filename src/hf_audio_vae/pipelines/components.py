"""Checks of the components of a saved pipeline, before any of them is loaded."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import transformers
from diffusers import ConfigMixin, DiffusionPipeline, ModelMixin
from diffusers.utils.torch_utils import unwrap_module
from transformers import PreTrainedModel

from hf_audio_vae.files.fingerprints import config_fingerprint
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.files.location import check_no_checkpoint, check_revision, existing
from hf_audio_vae.files.pretrained import read_config

CHECKED_LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
LIBRARIES = (*CHECKED_LIBRARIES, "hf_audio_vae")  # that components are loaded from
RECORDED = {  # files with the configurations that a pipeline records, by component
    "transformer": "config.json",
    "conditioner": "config.json",
    "text_encoder": "config.json",
    "scheduler": "scheduler_config.json",
}
HUB_OPTIONS = ("revision", "cache_dir", "token", "local_files_only")


def component_fingerprints(components: Mapping[str, Any]) -> dict[str, str]:
    """Return the fingerprints of the configurations of a pipeline's models and scheduler."""
    models = {name: unwrap_module(components[name]) for name in RECORDED if components.get(name) is not None}
    configured = {name: model if isinstance(model, ConfigMixin) else model.config for name, model in models.items()}
    return {name: config_fingerprint(json.loads(config.to_json_string())) for name, config in configured.items()}


def check_components(pipeline_class: type[DiffusionPipeline], name: str, options: Mapping[str, Any]) -> None:
    """Raise an error unless a pipeline's components are of known libraries and have exactly their weights.

    The configurations of models have to be those that the pipeline was saved with, if it has a record of them.

    Args:
        pipeline_class (`type`): Class of the pipeline.
        name (`str`): A folder or a Hub id.
        options (`Mapping`): Arguments of `from_pretrained`; components among them replace those of the folder.

    Raises:
        ValueError: The folder is a checkpoint of a training run; the index names a component of an unexpected library,
            which would be imported; a configuration was changed; or see `load_checked`.
        OSError: There is no such folder or repository, or it has no safetensors files.
    """
    check_revision(name, options.get("revision"))
    try:
        with existing(name):
            index = pipeline_class.load_config(name, **{key: options[key] for key in HUB_OPTIONS if key in options})
    except OSError as error:
        check_no_checkpoint(name)
        raise OSError(
            f"no pipeline can be loaded from {name!r}; name a folder or a Hub id with a `model_index.json`. {error}"
        ) from error
    saved = {key: entry for key, entry in index.items() if isinstance(entry, list) and key not in options}
    for component, (library, *_) in saved.items():
        known = library is None or str(library).partition(".")[0] in LIBRARIES
        if not known and not options.get("trust_remote_code"):
            raise ValueError(
                f"{name} has a `{component}` of the library {library!r}, none of {', '.join(LIBRARIES)}; if you trust "
                f"its code, pass `trust_remote_code=True`."
            )
    folder = Path(name if Path(name).is_dir() else pipeline_class.download(name, **options))
    recorded = index.get("component_configs") or {}
    for component, entry in saved.items():
        if len(entry) == 2:
            if component in recorded:
                _check_config(folder / component / RECORDED[component], recorded[component])
            _check_weights(folder / component, *entry, variant=options.get("variant"))


def _check_config(path: Path, recorded: str) -> None:
    """Check that a configuration is the one that was saved: no weight's shape depends on, say, the number of heads."""
    if config_fingerprint(read_json(path)) != recorded:
        raise ValueError(
            f"{path} has other values than when the pipeline was saved; use an intact copy. To "
            f"change values, load the pipeline, replace the component, and save it again."
        )


def _check_weights(folder: Path, library: object, class_name: object, *, variant: str | None) -> None:
    """Check the files of a model of diffusers or transformers; models of this package do so when they are loaded."""
    model_class = getattr(CHECKED_LIBRARIES.get(str(library)), str(class_name), None)
    if not isinstance(model_class, type) or not issubclass(model_class, ModelMixin | PreTrainedModel):
        return
    if "quantization_config" in read_config(str(folder))[0]:  # its weights have other names and shapes
        return
    has_variant = variant is not None and any(folder.glob(f"*.{variant}*"))
    load_checked(model_class, folder, variant=variant if has_variant else None, device_map={"": "meta"})
