"""The `merge` command."""

import argparse

from hf_audio_vae.cli.outputs import check_new_folder
from hf_audio_vae.cli.sound import check_model_files
from hf_audio_vae.files.weights import check_finite_weights
from hf_audio_vae.models import BaseLocation, LoraAdapter, load_merged


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check_new_folder(arguments.output_dir)
    base = None
    if arguments.model is not None:
        base = BaseLocation(arguments.model, arguments.subfolder, arguments.revision)
        check_model_files(base.name, base.subfolder)
    elif arguments.subfolder or arguments.revision:
        raise ValueError("--subfolder and --revision belong to --model; give it, too, or leave them out.")
    check_model_files(arguments.adapter)
    adapter = LoraAdapter.from_pretrained(arguments.adapter)
    model = load_merged(adapter, base, variant=arguments.variant, torch_dtype=arguments.torch_dtype)
    check_finite_weights(arguments.adapter, model)
    if model.published_format is not None and not model.published_format.expresses(model):
        model.published_format = None
    model.save_published(arguments.output_dir)
    print(f"{arguments.output_dir}: a {model.published_class.__name__}, {len(adapter.names)} layers changed")
