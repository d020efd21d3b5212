"""Faults of saved models and of the arguments of models and pipelines."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .codecs import CODECS, PRETRAINED, Codec, State, dac, transformers_dac
from .registry import attempt, cut, fault, flip


def loaded(codec: Codec, folder: Path, expected: State) -> str:
    """Return how the weights of a loaded model differ from what was saved."""

    def describe(model: Any) -> str:
        state, again = model.state_dict(), codec.load(folder).state_dict()
        meta = [name for name, value in state.items() if value.is_meta]
        wrong = meta or [name for name, value in expected.items() if not torch.equal(state[name], value)]
        if not wrong:
            return "loads as saved"
        if meta:
            kind = "no values (meta device)"
        elif not state[wrong[0]].isfinite().all():
            kind = "NaN"
        else:
            known = all(torch.equal(state[name], again[name]) for name in wrong)
            kind = "other values than were saved" if known else "random values"
        return f"loads; `{wrong[0]}`{f' and {len(wrong) - 1} more' * (len(wrong) > 1)}: {kind}"

    return attempt(lambda: codec.load(folder), describe)


def after(change: Callable[[Codec, Path], object]) -> Callable[[Path, Codec], str]:
    """Return a case that loads a saved folder after a change."""

    def provoke(folder: Path, peer: Codec) -> str:
        expected = peer.saved(folder)
        change(peer, folder)
        return loaded(peer, folder, expected)

    return provoke


def configured(codec: Codec, folder: Path, strides: object = None, **values: object) -> None:
    """Change values in `config.json`."""
    config = json.loads((folder / "config.json").read_text())
    values |= {name: strides for name in ("downsampling_ratios", "upsampling_ratios") if strides and name in config}
    (folder / "config.json").write_text(json.dumps(config | values))


def reshape(state: State, name: str) -> None:
    """Drop a tap of a convolution."""
    state[name] = state[name][..., :-1].contiguous()


FILES: dict[str, Callable[[Codec, Path], object]] = {
    "No fault: a saved model": lambda codec, folder: None,
    "A weight is missing": lambda codec, folder: codec.edit(folder, lambda state, name: state.pop(name)),
    "An unknown weight": lambda codec, folder: codec.edit(folder, lambda state, _: state.update(x=torch.ones(1))),
    "A weight of another shape": lambda codec, folder: codec.edit(folder, reshape),
    "A weight is NaN": lambda codec, folder: codec.edit(
        folder, lambda state, name: state[name].view(-1)[0].fill_(torch.nan)
    ),
    "One byte of the weights is flipped": lambda codec, folder: flip(folder / codec.weights, 0.7),
    "The weights are cut in half": lambda codec, folder: cut(folder / codec.weights),
}
CONFIGS: dict[str, Callable[[Codec, Path], object]] = {
    "An unknown key in the configuration": lambda codec, folder: configured(codec, folder, nonsense=1),
    "Strides as text": lambda codec, folder: configured(codec, folder, strides="2, 4"),
    "A negative stride": lambda codec, folder: configured(codec, folder, strides=[2, -4]),
}
for _name, _change in FILES.items():
    fault("models", CODECS, _name)(after(_change))
for _name, _change in CONFIGS.items():
    fault("models", PRETRAINED, _name)(after(_change))


@fault("models", "encodec EncodecModel.encodec_model_24khz")
def other_file(folder: Path) -> str:
    """Another file under the name of the published one."""
    encodec = import_module("encodec").EncodecModel
    torch.save({}, folder / "encodec_24khz-d7cc33bc.th")
    return attempt(lambda: encodec.encodec_model_24khz(repository=folder))


@fault("models", PRETRAINED)
def shards_over_whole(folder: Path, peer: Codec) -> str:
    """Saved in shards over a whole file."""
    peer.saved(folder)
    model = peer.build()
    model.save_pretrained(folder, max_shard_size="20KB")
    return loaded(peer, folder, model.state_dict())


@fault("models", PRETRAINED)
def whole_over_shards(folder: Path, peer: Codec) -> str:
    """Saved whole over shards."""
    peer.build().save_pretrained(folder, max_shard_size="20KB")
    return loaded(peer, folder, peer.saved(folder))


def decode_dac(codes: torch.Tensor) -> Any:
    """Decode codes with descript-audio-codec."""
    model = dac()
    return model.decode(model.quantizer.from_codes(codes)[0])[0, 0]


@fault(
    "models",
    {"transformers DacModel": lambda codes: transformers_dac().decode(audio_codes=codes)[0][0], "dac DAC": decode_dac},
)
def fewer_codebooks(folder: Path, peer: Callable[[torch.Tensor], Any]) -> str:
    """Codes of one codebook for a model of two."""
    return attempt(lambda: peer(torch.zeros(1, 1, 10, dtype=torch.long)), lambda x: f"{len(x)} samples")


def tiny_vae() -> Any:
    """Return an image autoencoder of four channels."""
    return import_module("diffusers").AutoencoderKL(block_out_channels=(4,), norm_num_groups=1, latent_channels=4)


@fault("models", "diffusers DiTPipeline")
def bool_class(folder: Path) -> str:
    """The class `True`."""
    library = import_module("diffusers")
    sizes = {"num_layers": 1, "num_attention_heads": 1, "attention_head_dim": 8, "sample_size": 4, "patch_size": 2}
    network = library.DiTTransformer2DModel(in_channels=4, out_channels=4, num_embeds_ada_norm=1000, **sizes)
    pipeline = library.DiTPipeline(network, tiny_vae(), library.DDIMScheduler())

    def image(label: int) -> Any:
        generator = torch.Generator().manual_seed(0)
        return pipeline([label], generator=generator, num_inference_steps=1, output_type="np").images

    return attempt(lambda: image(True), lambda y: "the image of class 1" if (y == image(1)).all() else "another image")


@fault("models", "diffusers StableDiffusionImg2ImgPipeline")
def strength(folder: Path) -> str:
    """Strength 0.29 of 100 steps."""
    library = import_module("diffusers")
    scheduler = library.DDIMScheduler()
    scheduler.set_timesteps(100)
    steps = library.StableDiffusionImg2ImgPipeline.get_timesteps
    return attempt(lambda: steps(SimpleNamespace(scheduler=scheduler), 100, 0.29, "cpu")[1], lambda n: f"{n} steps")


CALLBACKS = {
    "A callback returns None": None,
    "A callback returns latents of another shape": {"latents": torch.zeros(1, 4, 2, 2)},
}


def called_back(folder: Path, peer: object) -> str:
    """Return what the result of a callback does to an image of 8 x 8."""
    library = import_module("diffusers")
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "layers_per_block": 1}
    sizes = {"sample_size": 8, "block_out_channels": (4,), "norm_num_groups": 1, "cross_attention_dim": 4}
    network = library.UNet2DConditionModel(attention_head_dim=2, **blocks, **sizes)
    parts = (tiny_vae(), None, None, network, library.DDIMScheduler(), None, None)
    pipeline = library.StableDiffusionPipeline(*parts, requires_safety_checker=False)
    options = {"prompt_embeds": torch.zeros(1, 2, 4), "guidance_scale": 1.0, "num_inference_steps": 2}
    run = lambda: pipeline(callback_on_step_end=lambda *_: peer, output_type="np", **options).images  # noqa: E731
    return attempt(run, lambda images: f"an image of {images.shape[1]} x {images.shape[2]}")


for _name, _result in CALLBACKS.items():
    fault("models", {"diffusers StableDiffusionPipeline": _result}, _name)(called_back)
