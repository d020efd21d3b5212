"""What the folder of every family promises; inherited by the contracts of families with latents and with codes."""

import json
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from hf_audio_vae.files.pretrained import CheckedPretrainedMixin

SHARDED = "4KB"
LOADING = (
    ({}, {"low_cpu_mem_usage": False}),
    ({}, {"low_cpu_mem_usage": True}),
    ({}, {"device_map": "cpu"}),
    ({}, {"device_map": "auto", "torch_dtype": "float16"}),
    ({"max_shard_size": SHARDED}, {}),
    ({"max_shard_size": SHARDED}, {"low_cpu_mem_usage": False}),
    ({"variant": "fp16"}, {"variant": "fp16", "torch_dtype": torch.float16}),
)


def weights_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def equal_weights(a: Any, b: Any) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class SavedContract:
    """Loading and saving; a subclass has `model_class` and `tiny_model`."""

    model_class: type[CheckedPretrainedMixin]
    tiny_model: Callable[..., Any]

    def shifted(self, shift: float) -> Any:
        model = self.tiny_model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(shift)
        return model

    def refused(self, folder: Path, *words: str, error: Any = ValueError, **options: Any) -> str:
        """Load, and return the error's one line, which holds all of the words."""
        with pytest.raises(error) as caught:
            self.model_class.from_pretrained(folder, **options)
        message = str(caught.value)
        assert all(word in message for word in words), message
        return message

    # Weights

    def test_weights_that_are_not_the_models_are_named(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        (file,) = weights_in(tmp_path)
        weights = load_file(file)
        name = next(key for key in weights if key.endswith(("bias", "weight")))
        shape = tuple(weights[name].shape)
        for changed, words in (
            (weights | {"other.weight": torch.zeros(1)}, "1 unknown: other.weight"),
            (weights | {name: torch.zeros(77)}, f"1 different: {name} (77,) instead of {shape}"),
            (weights | {name: weights[name].to(torch.int32)}, f"1 different: {name} {shape} of integers"),
            ({"other": torch.zeros(1)}, "missing: "),
        ):
            save_file(changed, file, metadata={"format": "pt"})
            self.refused(tmp_path, words)

    @pytest.mark.parametrize(("layout", "options"), LOADING, ids=str)
    def test_a_missing_weight_is_named_in_every_mode(self, layout, options, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path, **layout)
        file = weights_in(tmp_path)[-1]
        whole, weights = file.read_bytes(), load_file(file)
        name = next(key for key in weights if not key.endswith(("counts", "sums", "updates")))
        rest = {key: value for key, value in weights.items() if key != name}
        save_file(rest or {"other": torch.zeros(1)}, file, metadata={"format": "pt"})
        self.refused(tmp_path, "1 missing", name, **options)
        file.write_bytes(whole)
        self.model_class.from_pretrained(tmp_path, **options)

    def test_weights_of_other_shapes_start_anew_on_request(self, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        (file,) = weights_in(tmp_path)
        weights = load_file(file)
        name = next(key for key in weights if key.endswith(("bias", "weight")))
        save_file(weights | {name: torch.zeros(77)}, file, metadata={"format": "pt"})
        loaded, info = self.model_class.from_pretrained(
            tmp_path, ignore_mismatched_sizes=True, low_cpu_mem_usage=False, output_loading_info=True
        )
        assert [key for key, *_ in info["mismatched_keys"]] == [name]
        assert loaded.state_dict()[name].shape == weights[name].shape

    def test_what_was_loaded_is_told_on_request(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        _, info = self.model_class.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))

    def test_an_unknown_option_is_named(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        with pytest.raises((ValueError, TypeError), match="sampling_rat"):  # transformers raises a `TypeError`
            self.model_class.from_pretrained(tmp_path, sampling_rat=8000)

    def test_a_revision_of_a_folder_is_refused(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        self.model_class.from_pretrained(tmp_path, revision="main")
        self.refused(tmp_path, "`revision` 'abc' has no effect on the local folder", revision="abc")

    # Files

    def test_damaged_weights_are_named(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        (file,) = weights_in(tmp_path)
        whole = file.read_bytes()
        flipped = whole[:20] + bytes([whole[20] ^ 1]) + whole[21:]
        for content in (whole[: len(whole) // 2], whole[:-1], whole[:4] + b"\xff" + whole[5:], flipped, b""):
            file.write_bytes(content)
            self.refused(tmp_path, file.name, "damaged")
        torch.save(self.tiny_model().state_dict(), file)
        self.refused(tmp_path, file.name, "not a safetensors file")

    def test_pickles_are_not_read(self, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        (file,) = weights_in(tmp_path)
        file.unlink()
        for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
            torch.save(model.state_dict(), tmp_path / name)
        self.refused(tmp_path, file.name, "Pickles", error=OSError)
        self.refused(tmp_path, "pickle", use_safetensors=False)
        with pytest.raises(ValueError, match="pickle"):
            model.save_pretrained(tmp_path, safe_serialization=False)

    def test_an_index_that_leaves_its_folder_is_refused(self, tmp_path: Path):
        folder = tmp_path / "model"
        self.tiny_model().save_pretrained(folder, max_shard_size=SHARDED)
        shard = weights_in(folder)[0]
        moved = shard.rename(tmp_path / shard.name)
        (index,) = folder.glob("*.index.json")
        content = json.loads(index.read_text())
        self.refused(folder, index.name, "missing", shard.name)
        for name in (f"../{shard.name}", str(moved), 1, None, ["a"]):
            other = {key: name if value == shard.name else value for key, value in content["weight_map"].items()}
            index.write_text(json.dumps(content | {"weight_map": other}))
            self.refused(folder, index.name)
        for text in ("", "[]", "{}", '{"weight_map": 3}'):
            index.write_text(text)
            self.refused(folder, index.name, "damaged")

    def test_a_wrong_place_says_what_to_name(self, tmp_path: Path):
        folder = tmp_path / "checkpoint-4"
        self.tiny_model().save_pretrained(folder / "ema")
        for file in (folder / "ema" / "config.json", weights_in(folder / "ema")[0]):
            self.refused(file, "is a file; name the folder")
        (folder / "model.safetensors").write_bytes(b"")
        self.refused(folder, "checkpoint of a training run", str(folder / "ema"))
        self.refused(tmp_path, "config.json", error=OSError)
        self.refused(tmp_path / "none", error=OSError)

    # Configurations

    def test_a_configuration_that_is_none_is_refused(self, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        right = path.read_text()
        for text in ("", "{", "[1, 2]", "3", "null", "[" * 100_000, right[: len(right) // 2]):
            path.write_text(text)
            self.refused(tmp_path, "config", error=(ValueError, OSError))
        path.write_text(right)
        change_config(tmp_path, another_key=1)
        self.refused(tmp_path, "another_key")

    def test_no_model_is_made_with_a_key_that_it_does_not_know(self):
        model = self.tiny_model()
        if isinstance(model, PreTrainedModel):  # its configuration takes any key
            config = type(model.config)(**model.config.to_dict(), another_key=1)
            with pytest.raises(ValueError, match=f"a {type(config).__name__} has no another_key; correct or remove"):
                self.model_class(config)
        else:
            with pytest.raises(TypeError, match="another_key"):
                self.model_class(**{name: model.config[name] for name in model.argument_names()}, another_key=1)

    def test_wrong_values_of_a_configuration_are_refused(self, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path)
        right = json.loads((tmp_path / "config.json").read_text())
        for name in model.argument_names():
            value = right.get(name)
            if isinstance(value, bool) or not isinstance(value, int | list):
                continue
            wrong: tuple[Any, ...] = (-1, 10**9, 1.5, True, "2", float("inf"), [[2]], {})
            if isinstance(value, list):
                items = (-1, 10**9, True, "2", None) if isinstance(value[0], int) else ("2", None, float("inf"))
                wrong = ("2, 4", {}, 3, *([item, *value[1:]] for item in items))
            for other in wrong:
                change_config(tmp_path, **{name: other})
                self.refused(tmp_path, name if other != 10**9 else "")
            change_config(tmp_path, **{name: value})
        assert equal_weights(self.model_class.from_pretrained(tmp_path), model)

    # Saving

    def test_the_last_save_is_the_one_that_loads(self, tmp_path: Path):
        layouts = ({}, {"max_shard_size": SHARDED}, {})
        fp16 = self.shifted(9.0).to(torch.float16)
        fp16.save_pretrained(tmp_path, variant="fp16")
        for step, layout in enumerate(layouts):
            model = self.shifted(step)
            model.save_pretrained(tmp_path, **layout)
            loaded = self.model_class.from_pretrained(tmp_path)
            assert equal_weights(loaded, model)
            assert not list(tmp_path.glob(".*"))
            loaded.save_pretrained(tmp_path, **layout)  # weights may be mapped to the file that is written
            assert equal_weights(self.model_class.from_pretrained(tmp_path), model)
        variant = self.model_class.from_pretrained(tmp_path, variant="fp16", torch_dtype="float16")
        assert equal_weights(variant, fp16)
        fp16.save_pretrained(tmp_path, variant="fp16", max_shard_size=SHARDED)
        variant = self.model_class.from_pretrained(tmp_path, variant="fp16", torch_dtype=torch.float16)
        assert equal_weights(variant, fp16)
        assert equal_weights(self.model_class.from_pretrained(tmp_path, torch_dtype="float32"), model)
        with pytest.raises(ValueError, match="file name"):
            model.save_pretrained(tmp_path, variant="../fp16")

    @pytest.mark.parametrize("layout", [{}, {"max_shard_size": SHARDED}], ids=str)
    def test_saved_files_have_the_mode_of_the_umask(self, layout, tmp_path: Path):
        before = os.umask(0o027)
        try:
            self.tiny_model().save_pretrained(tmp_path / "model", **layout)
        finally:
            os.umask(before)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "model").iterdir()}
        assert set(modes.values()) == {0o640}, modes

    def test_a_save_that_fails_leaves_the_older_model(self, tmp_path: Path):
        model = self.tiny_model()
        model.save_pretrained(tmp_path / "model")
        blocked = tmp_path / "file"
        blocked.write_text("here")
        with pytest.raises(OSError, match="file"):
            model.save_pretrained(blocked)
        assert blocked.read_text() == "here"
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))  # a longer file fails as on a full disk
        try:
            with pytest.raises(OSError, match="model cannot be written"):
                self.shifted(1.0).save_pretrained(tmp_path / "model")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert equal_weights(self.model_class.from_pretrained(tmp_path / "model"), model)
        assert not list((tmp_path / "model").glob(".*"))

    # Places and dtypes

    def test_a_subfolder_is_read_although_its_folder_is_a_model(self, tmp_path: Path):
        outer, inner = self.tiny_model(), self.shifted(1.0)
        outer.save_pretrained(tmp_path)
        inner.save_pretrained(tmp_path / "vae")
        assert equal_weights(self.model_class.from_pretrained(tmp_path, subfolder="vae"), inner)
        assert equal_weights(self.model_class.from_pretrained(tmp_path), outer)
        self.refused(tmp_path, "none", subfolder="none", error=OSError)

    def test_a_dtype_is_given_by_value_or_by_name(self, tmp_path: Path):
        self.tiny_model().save_pretrained(tmp_path)
        for key, dtype in (("torch_dtype", "float16"), ("dtype", "bfloat16"), ("torch_dtype", torch.float64)):
            loaded = self.model_class.from_pretrained(tmp_path, **{key: dtype})
            assert str(loaded.dtype).removeprefix("torch.") == str(dtype).removeprefix("torch.")
        for wrong in ("half", torch.int8, 16):
            self.refused(tmp_path, "torch_dtype", "float16, bfloat16", torch_dtype=wrong)
