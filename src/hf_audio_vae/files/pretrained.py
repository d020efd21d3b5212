"""Loading and saving of models whose folder has to hold exactly their weights.

diffusers and transformers only warn about weights that are missing or unknown, and continue with new or uninitialised
ones. Here, the names and shapes in the files are compared with the model before it is loaded.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from diffusers import ConfigMixin
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors import SafetensorError

from hf_audio_vae.files.folders import filling
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.files.location import check_revision, check_subfolder, existing, located
from hf_audio_vae.files.weights import Shapes, check_keys, first_names, on_one_line, read_shapes

HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "token")
# Options of transformers that change the names of weights, or take them from elsewhere.
OTHER_WEIGHTS = ("gguf_file", "key_mapping", "quantization_config")
DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


class _ConfigFile(ConfigMixin):
    config_name = "config.json"


class CheckedPretrainedMixin:
    """`from_pretrained` and `save_pretrained` for models of diffusers and transformers; stands before their classes.

    Only safetensors files are read and written. The folder must hold every weight of the model, in its shape, and no
    other. With `ignore_mismatched_sizes=True`, weights of other shapes are left to the library, which starts them
    anew.
    """

    weights_stem: ClassVar[str] = "diffusion_pytorch_model"  # of diffusers; it prefers the index of shards
    prefers_index: ClassVar[bool] = True
    library_keys: ClassVar[frozenset[str]] = frozenset({"quantization_config"})  # besides those with an underscore
    # Patterns of weights that may be missing; transformers reads this attribute, too.
    _keys_to_ignore_on_load_missing: ClassVar[Any] = None

    @classmethod
    def argument_defaults(cls) -> dict[str, object]:
        """Return the arguments that describe a model, with their defaults."""
        signature: Callable[..., object] = cls.__init__
        return {name: value.default for name, value in list(inspect.signature(signature).parameters.items())[1:]}

    @classmethod
    def argument_names(cls) -> list[str]:
        """Return the names of the arguments that describe a model."""
        return list(cls.argument_defaults())

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Make a model with random weights from its arguments."""
        return cls(**arguments)

    @classmethod
    def from_config(cls, config: Any, return_unused_kwargs: bool = False, **arguments: Any) -> Any:
        """Make a model of diffusers with random weights from a configuration; `arguments` replace its values.

        `from_pretrained` calls this with the options that diffusers does not use, and would ignore unknown ones.

        Raises:
            ValueError: The model has no such argument, or refuses its value.
        """
        known = cls.argument_names()
        if unknown := sorted(arguments.keys() - set(known)):
            raise ValueError(
                f"a {cls.__name__} has no option {', '.join(unknown)}; use {', '.join(known)}, or options of its "
                f"library."
            )
        library: Any = super()
        return library.from_config(config, return_unused_kwargs, **arguments)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **options: Any) -> Any:
        """Load a model from a folder or a Hub id, in evaluation mode; the options are those of the library.

        Raises:
            ValueError: Weights are missing, unknown, damaged or of another shape; the configuration is invalid; or a
                file is given instead of a folder.
            OSError: There is no such folder or repository, or it has no safetensors file.
        """
        library: Any = super()
        if pretrained_model_name_or_path is None:  # transformers: a configuration and weights are given instead
            return library.from_pretrained(None, *args, **options)
        if options.pop("use_safetensors", None) is False:
            raise ValueError("`use_safetensors=False` would read a pickle, which can run code; leave it out.")
        name, options = located(str(pretrained_model_name_or_path), _with_dtype(options))
        commit = _check_saved(cls, name, options)
        pinned = {} if commit is None else {"revision": commit}  # all files are of the version that was checked
        try:
            return library.from_pretrained(name, *args, use_safetensors=True, **(options | pinned))
        except (SafetensorError, RuntimeError) as error:
            raise ValueError(f"{name} cannot be loaded: {on_one_line(error)}") from error

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        variant: str | None = None,
        safe_serialization: bool = True,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **options: Any,
    ) -> None:
        """Write the folder that `from_pretrained` reads; each file appears when it is complete.

        Older weights of the same variant are removed, so that the folder holds one model.

        Args:
            save_directory (`str` or `Path`): Folder, created if missing.
            variant (`str`, *optional*): Name of this variant of the weights, such as `"fp16"`.
            safe_serialization (`bool`): Only `True`, since pickles are never read.
            push_to_hub (`bool`): Upload the model after it has been written.
            repo_id (`str`, *optional*): Repository for the upload; the folder's name if not given.
            options: Those of the library, such as `max_shard_size`.

        Raises:
            ValueError: `safe_serialization` is `False`, or `variant` cannot be part of a file name.
            OSError: The folder cannot be written, or the disk is full.
        """
        if not safe_serialization:
            raise ValueError("`safe_serialization=False` would write a pickle, which can run code; leave it out.")
        library: Any = super()
        folder = Path(save_directory)
        whole, index = _weights_names(self.weights_stem, variant)
        shard = re.compile(rf"{re.escape(whole.removesuffix('.safetensors'))}-\d{{5}}-of-\d{{5}}\.safetensors")
        with filling(folder, last=index) as hidden:
            library.save_pretrained(hidden, variant=variant, **options)
            saved = {path.name for path in hidden.iterdir()}
            if index in saved:
                (folder / index).unlink(missing_ok=True)  # it must not name a mixture of old and new shards
        for path in folder.iterdir():
            if path.name not in saved and (path.name in (whole, index) or shard.fullmatch(path.name)):
                path.unlink()
        if push_to_hub:
            hub = {key: options[key] for key in ("commit_message", "private", "create_pr", "token") if key in options}
            model: Any = self
            model.push_to_hub(repo_id or folder.name, variant=variant, **hub)


def read_config(
    name: str, *, subfolder: str | None = None, revision: str | None = None, **hub: Any
) -> tuple[dict[str, Any], str | None]:
    """Return the content of a saved model's `config.json`, and the commit that it is of on the Hub.

    Raises:
        ValueError: The file does not hold a dictionary, `name` is a file, a revision of a folder is given, or a folder
            has no such subfolder, or is a pipeline and none is given.
        OSError: There is no such folder or repository, or it has no readable `config.json`.
    """
    check_revision(name, revision)
    check_subfolder(name, subfolder)
    name, location = located(name, {"subfolder": subfolder})
    folder = Path(name)
    if folder.is_file():
        raise ValueError(f"{name} is a file; name the folder that holds it.")
    if (folder / "ema" / "config.json").is_file() and not (folder / "config.json").is_file():
        raise ValueError(f"{name} is a checkpoint of a training run; name its model, {folder / 'ema'}.")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{name} holds no model: it has no config.json; name a folder that a training or `save_pretrained` wrote."
        )
    _check_keys_once(folder / "config.json")
    try:
        with existing(name):
            config, commit = _ConfigFile.load_config(
                name, return_commit_hash=True, revision=revision, **location, **hub
            )
    except RecursionError as error:
        raise ValueError(f"the `config.json` of {name} is nested too deeply; use an intact copy.") from error
    if not isinstance(config, dict):
        raise ValueError(f"the `config.json` of {name} holds a {type(config).__name__}, not a dictionary.")
    return config, commit


def read_file(name: str, file_name: str, *, subfolder: str | None = None, revision: str | None = None) -> bytes | None:
    """Return the content of another file of a saved model, or `None` if it has no such file."""
    path = file_path(name, file_name, subfolder=subfolder, revision=revision)
    return None if path is None else path.read_bytes()


def file_path(name: str, file_name: str, *, subfolder: str | None = None, revision: str | None = None) -> Path | None:
    """Return the path of another file of a saved model, downloaded if need be, or `None` if it has no such file."""
    name, location = located(name, {"subfolder": subfolder})
    return _file(name, file_name, {"revision": revision, **location})


def _check_keys_once(path: Path) -> None:
    """Raise `ValueError` if a local `config.json` has a key twice; its library would take the last value."""
    try:
        read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError, OSError):
        return  # the library says so
    except ValueError as error:
        raise ValueError(f"{path} is ambiguous: {error}.") from error


def _check_saved(model_class: type[CheckedPretrainedMixin], name: str, options: Mapping[str, Any]) -> str | None:
    """Raise an error unless the files hold what `config.json` describes; return the Hub's commit."""
    hub = {key: options[key] for key in HUB_OPTIONS if options.get(key) is not None}
    location = {"subfolder": options.get("subfolder") or None, "revision": options.get("revision")}
    config, commit = read_config(name, **location, **hub)
    known = model_class.argument_names()
    unknown = [key for key in config if key not in known and key not in model_class.library_keys]
    if unknown := sorted(key for key in unknown if not key.startswith("_")):
        raise ValueError(
            f"the `config.json` of {name} has keys that a {model_class.__name__} does not know: "
            f"{first_names(unknown)}; load it with its own class, or with the version that wrote it."
        )
    found = _saved_shapes(model_class, name, options.get("variant"), location | {"revision": commit} | hub)
    if any(options.get(key) is not None for key in OTHER_WEIGHTS) or config.get("quantization_config") is not None:
        return commit
    given = options.get("config")
    described = config if given is None or isinstance(given, str | Path) else given.to_dict()
    arguments = {key: value for key, value in (*described.items(), *options.items()) if key in known}
    try:
        with torch.device("meta"):
            model: Any = model_class.from_arguments(arguments)
    except (ValueError, RuntimeError) as error:  # torch: a size overflows
        raise ValueError(f"the `config.json` of {name} is invalid: {on_one_line(error)}") from error
    tied = getattr(model, "all_tied_weights_keys", {})  # transformers: not saved, since they are other weights
    expected = {
        key: (tuple(value.shape), value.is_floating_point())
        for key, value in model.state_dict().items()
        if key not in tied
    }
    optional = tuple(model_class._keys_to_ignore_on_load_missing or ())
    _compare(expected, found, name, model_class, optional, bool(options.get("ignore_mismatched_sizes")))
    return commit


def _compare(
    expected: Shapes,
    found: Shapes,
    name: str,
    model_class: type,
    optional: Iterable[str],
    ignore_mismatched_sizes: bool,
) -> None:
    missing = [key for key in expected.keys() - found if not any(re.search(pattern, key) for pattern in optional)]
    differing = {} if ignore_mismatched_sizes else {key: found[key] for key in expected.keys() & found}
    others = [
        f"{key} {_describe(value)} instead of {_describe(expected[key])}"
        for key, value in differing.items()
        if value != expected[key]
    ]
    check_keys(name, model_class, missing=missing, unknown=found.keys() - expected.keys(), different=others)


def _saved_shapes(
    model_class: type[CheckedPretrainedMixin], name: str, variant: str | None, location: Mapping[str, Any]
) -> Shapes:
    """Read the shapes of the weights from the headers of a model's files."""
    whole, index = _weights_names(model_class.weights_stem, variant)
    names = (index, whole) if model_class.prefers_index else (whole, index)
    found = next(((file_name, path) for file_name in names if (path := _file(name, file_name, location))), None)
    if found is None:
        _check_variant(name, model_class.weights_stem, variant)
        raise OSError(
            f"{name} holds neither {whole} nor {index}; name the folder of a model with such a file. Pickles "
            f"(`.bin`) are not read, since they can run code."
        )
    paths = [found[1]] if found[0] == whole else _shards(name, found[1], location)
    return {key: shape for path in paths for key, shape in read_shapes(path).items()}


def _check_variant(name: str, stem: str, variant: str | None) -> None:
    """Raise `ValueError` if missing weights are due to a variant that is given, or to one that is not."""
    whole = re.compile(rf"{re.escape(stem)}(?:\.([^.]+))?\.safetensors")
    index = re.compile(rf"{re.escape(stem)}\.safetensors\.index(?:\.([^.]+))?\.json")
    files = [path.name for path in Path(name).glob(f"{stem}.*") if not re.search(r"-\d{5}-of-\d{5}\.", path.name)]
    found = {match[1] for file in files if (match := whole.fullmatch(file) or index.fullmatch(file))}
    if variant is None and not found:
        return
    wanted = "without a `variant`" if variant is None else f"of the `variant` {variant!r}"
    others = " or ".join(map(repr, sorted(filter(None, found))))
    remedy = "leave it out" if None in found or not others else f"give `variant` {others}"
    raise ValueError(f"{name} has no weights {wanted} ({_weights_names(stem, variant)[0]}); {remedy}.")


def _shards(name: str, index: Path, location: Mapping[str, Any]) -> list[Path]:
    """Return the files that an index names; each has to be in its folder."""
    try:
        content = read_json(index)
        shards = sorted(set(content["weight_map"].values()))
        plain = all(Path(shard).name == shard and shard.endswith(".safetensors") for shard in shards)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index} is damaged or not an index of safetensors files; use an intact copy.") from error
    if not plain:
        raise ValueError(
            f"{index} names files outside its folder or of another kind, {first_names(shards)}; do not trust it."
        )
    paths = {shard: _file(name, shard, location) for shard in shards}
    if missing := [shard for shard, path in paths.items() if path is None]:
        raise ValueError(f"{index} names files that are missing, {first_names(missing)}; use an intact copy.")
    return [path for path in paths.values() if path is not None]


def _file(name: str, file_name: str, location: Mapping[str, Any]) -> Path | None:
    """Return the path of a file in a folder or, downloaded, of a Hub model."""
    if Path(name).exists():  # also a file: no id of the Hub
        path = Path(name) / file_name
        return path if path.is_file() else None
    try:
        return Path(hf_hub_download(name, file_name, **location))
    except EntryNotFoundError:
        return None


def _weights_names(stem: str, variant: str | None) -> tuple[str, str]:
    """Return the name of a whole file of weights, and of an index of shards."""
    middle = "" if variant is None else f".{variant}"
    whole, index = f"{stem}{middle}.safetensors", f"{stem}.safetensors.index{middle}.json"
    if Path(whole).name != whole:
        raise ValueError(f"`variant` {variant!r} cannot be part of a file name; use a name such as 'fp16'.")
    return whole, index


def _with_dtype(options: dict[str, Any]) -> dict[str, Any]:
    """Replace the name of a dtype by the dtype; diffusers would load float32 instead."""
    key = next((key for key in ("dtype", "torch_dtype") if options.get(key) is not None), None)
    if key is None or options[key] == "auto":
        return options
    dtype = DTYPES.get(str(options[key]).removeprefix("torch."))
    if dtype is None:
        raise ValueError(f"`{key}` is {options[key]!r}; choose one of {', '.join(DTYPES)}.")
    return options | {key: dtype}


def _describe(weight: tuple[tuple[int, ...], bool]) -> str:
    return f"{weight[0]}" if weight[1] else f"{weight[0]} of integers"
