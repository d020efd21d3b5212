"""Small autoencoders of the libraries, and how each is saved and loaded."""

import copy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Build = Callable[[], Any]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Codec:
    """How a library saves and loads a model.

    Args:
        build (`Callable`): Returns a model with random weights.
        save (`Callable`): Writes a model to a folder.
        load (`Callable`): Reads the model in a folder.
        weights (`str`): Name of the file with the weights.
    """

    build: Build
    save: Callable[[Any, Path], object]
    load: Callable[[Path], Any]
    weights: str = "model.safetensors"

    def saved(self, folder: Path) -> State:
        """Save a new model; return its state."""
        model = self.build()
        self.save(model, folder)
        return {name: value.clone() for name, value in model.state_dict().items()}

    def edit(self, folder: Path, change: Callable[[State, str], object]) -> None:
        """Change the tensors in the file; `change` is told the name of a convolution's weight too."""
        path = folder / self.weights
        whole = {} if path.suffix == ".safetensors" else torch.load(path)
        state: State = whole["state_dict"] if whole else load_file(path)
        names = (name for name in state if "decoder" in name and state[name].ndim == 3 and state[name].shape[-1] > 1)
        change(state, next(names))
        if whole:
            torch.save(whole, path)
        else:
            save_file(state, path, metadata={"format": "pt"})


def oobleck() -> Any:
    """Return diffusers' Oobleck with a hop of 8."""
    sizes = {"encoder_hidden_size": 8, "decoder_channels": 8, "decoder_input_channels": 4, "audio_channels": 1}
    model = import_module("diffusers").AutoencoderOobleck
    return model(downsampling_ratios=[2, 4], channel_multiples=[1, 2], sampling_rate=16_000, **sizes)


def transformers_dac() -> Any:
    """Return transformers' DAC with a hop of 8."""
    library = import_module("transformers")
    sizes = {"encoder_hidden_size": 8, "decoder_hidden_size": 32, "hidden_size": 32, "n_codebooks": 2}
    config = library.DacConfig(downsampling_ratios=[2, 4], codebook_size=16, codebook_dim=4, **sizes)
    return library.DacModel(config)


def with_codes(model: Any) -> Any:
    """Return the model with random codebooks in place of zeros, so that codes depend on the input."""
    for name, buffer in model.named_buffers():
        if name.rpartition(".")[2] in ("embed", "embed_sum"):
            buffer.normal_()
    return model


def transformers_encodec() -> Any:
    """Return transformers' EnCodec with a hop of 8."""
    library = import_module("transformers")
    sizes = {"num_filters": 4, "hidden_size": 16, "codebook_size": 16, "codebook_dim": 16, "num_lstm_layers": 1}
    config = library.EncodecConfig(upsampling_ratios=[4, 2], target_bandwidths=[24.0], **sizes)
    return with_codes(library.EncodecModel(config))


def mimi() -> Any:
    """Return transformers' Mimi with a hop of 1920."""
    library = import_module("transformers")
    sizes = {"hidden_size": 32, "num_filters": 4, "codebook_size": 16, "codebook_dim": 16, "upsample_groups": 32}
    layers = {"num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = library.MimiConfig(num_quantizers=4, vector_quantization_hidden_dimension=16, **sizes, **layers)
    return with_codes(library.MimiModel(config))


def dac() -> Any:
    """Return a DAC of descript-audio-codec with a hop of 8."""
    sizes = {"decoder_dim": 32, "n_codebooks": 2, "codebook_size": 16, "codebook_dim": 4}
    return import_module("dac").DAC(8, [2, 4], decoder_rates=[4, 2], **sizes)


def encodec() -> Any:
    """Return the 24 kHz model of encodec, hop 320, with random weights."""
    return with_codes(import_module("encodec").EncodecModel.encodec_model_24khz(pretrained=False))


def stable_audio_tools() -> Any:
    """Return an Oobleck of stable-audio-tools with a hop of 8."""
    layers = {"channels": 8, "c_mults": [1, 2], "strides": [2, 4]}
    config = {
        "model_type": "autoencoder",
        "sample_rate": 16_000,
        "model": {
            "encoder": {"type": "oobleck", "config": {"in_channels": 1, "latent_dim": 8, **layers}},
            "decoder": {"type": "oobleck", "config": {"out_channels": 1, "latent_dim": 4, **layers}},
            "bottleneck": {"type": "vae"},
            "latent_dim": 4,
            "downsampling_ratio": 8,
            "io_channels": 1,
        },
    }
    sys.modules.setdefault("k_diffusion", types.ModuleType("k_diffusion"))  # for samplers only; needs torchvision
    create = import_module("stable_audio_tools.models.factory").create_model_from_config
    return create(copy.deepcopy(config))  # it changes its argument


def load_stable_audio_tools(folder: Path) -> Any:
    """Load a model as stable-audio-tools' training and demo do."""
    module, model = import_module("stable_audio_tools.models.utils"), stable_audio_tools()
    module.copy_state_dict(model, module.load_ckpt_state_dict(str(folder / "model.safetensors")))
    return model


def pretrained(build: Build, library: str, name: str, weights: str = "model.safetensors", **options: Any) -> Codec:
    """Return a class of diffusers or transformers."""
    load = lambda folder: getattr(import_module(library), name).from_pretrained(folder, **options)  # noqa: E731
    return Codec(build, lambda model, folder: model.save_pretrained(folder), load, weights)


_oobleck = partial(pretrained, oobleck, "diffusers", "AutoencoderOobleck", "diffusion_pytorch_model.safetensors")
PRETRAINED = {
    "diffusers AutoencoderOobleck": _oobleck(),
    "diffusers AutoencoderOobleck (low_cpu_mem_usage=False)": _oobleck(low_cpu_mem_usage=False),
    "transformers DacModel": pretrained(transformers_dac, "transformers", "DacModel"),
    "transformers EncodecModel": pretrained(transformers_encodec, "transformers", "EncodecModel"),
}
CODECS = PRETRAINED | {
    "dac DAC.load": Codec(
        dac,
        lambda model, folder: model.save(folder / "weights.pth", package=False),
        lambda folder: import_module("dac").DAC.load(str(folder / "weights.pth")),
        "weights.pth",
    ),
    "stable_audio_tools copy_state_dict": Codec(
        stable_audio_tools,
        lambda model, folder: save_file(model.state_dict(), folder / "model.safetensors"),
        load_stable_audio_tools,
    ),
}
