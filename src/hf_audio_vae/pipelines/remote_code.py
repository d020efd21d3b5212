"""The code of a vae in one file beside its weights, for readers of a pipeline who do not have this package.

Where `model_index.json` says `"vae": ["vae_shim", "WaveformVAE"]` and there is a `vae/vae_shim.py`, diffusers takes
the class from that file, if its reader passes `trust_remote_code=True`. It copies the file out of its folder and
fetches no other from the Hub, so all that the class needs has to stand in it. Compiled kernels are left out: results
are the same within rounding.
"""

import ast
import builtins
import importlib
import inspect
import json
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diffusers import ModelMixin

from hf_audio_vae.models import FAMILIES
from hf_audio_vae.version import __version__

SHIM = "vae_shim"
LICENSE = "Apache-2.0"
# Imported only where Triton is, and left out of the file.
LEFT_OUT = ("hf_audio_vae.runtime",)
HEADER = """\
# {family} in one file, for readers of this pipeline who have diffusers, but not the package hf-audio-vae.
# Written by `write_vae_shim` of hf-audio-vae {version} from that package's modules: change those, not this file.
# SPDX-License-Identifier: {license}
"""


def write_vae_shim(folder: str | Path) -> Path:
    """Let readers without this package load a saved pipeline: put the code of its vae beside the weights.

    They pass `trust_remote_code=True` to `from_pretrained`, and so do now readers who have it: the index names the
    file. To use the package's own class instead, load the pipeline with `vae=None` (diffusers takes no other `vae=`
    beside a shim) and call `register_modules(vae=WaveformVAE.from_pretrained(folder, subfolder="vae"))`. A pipeline
    that was loaded through a shim and saved again has no shim until this function wrote one there.

    Args:
        folder (`str` or `Path`): Where `save_pretrained` of a pipeline wrote; its `vae/` is a model of ours.

    Returns:
        `Path`: The file that was written, `vae/vae_shim.py`.

    Raises:
        ValueError: The folder holds no pipeline, or one whose vae is not a model of ours.

    Example:
        >>> write_vae_shim("a/folder/without/pipeline")
        Traceback (most recent call last):
        ...
        ValueError: a/folder/without/pipeline/model_index.json is missing; give a folder that a pipeline was saved to.
    """
    folder = Path(folder)
    index, family = _index_and_family(folder)
    header = HEADER.format(family=family, version=__version__, license=LICENSE)
    shim_path = folder / "vae" / f"{SHIM}.py"
    shim_path.write_text(header + "\n" + self_contained_source(FAMILIES[family].__module__), encoding="utf-8")
    (folder / "model_index.json").write_text(json.dumps(index | {"vae": [SHIM, family]}, indent=2) + "\n")
    return shim_path


def self_contained_source(name: str) -> str:
    """Concatenate a module and all that it imports from its own package into the source of one module.

    Args:
        name (`str`): Full name of a module that can be imported.

    Returns:
        `str`: The modules in the order of their dependence, under the imports from other packages. Docstrings of
            modules become comments.

    Raises:
        ValueError: Two modules would share a name with different meanings, or one imports from its package in a way
            that loses its meaning: renamed, not at the top, or from a module that does not define the name.
    """
    modules: dict[str, _Module] = {}
    _collect(name, modules)
    _check_names(modules.values())
    bodies = [module.body() for module in modules.values()]
    return _merged_imports(modules.values()) + "\n\n" + "\n\n\n".join(bodies) + "\n"


def _index_and_family(folder: Path) -> tuple[dict[str, object], str]:
    """Read what the pipeline consists of, and which of our classes its vae is."""
    index_path, config_path = folder / "model_index.json", folder / "vae" / "config.json"
    for path in (index_path, config_path):
        if not path.is_file():
            raise ValueError(f"{path} is missing; give a folder that a pipeline was saved to.")
    index, family = json.loads(index_path.read_text()), json.loads(config_path.read_text()).get("_class_name")
    if "vae" not in index:
        raise ValueError(f"{index_path} names no `vae`, only {sorted(index)}; give a pipeline that has one.")
    known = sorted(name for name, model_class in FAMILIES.items() if issubclass(model_class, ModelMixin))
    if family not in known:
        raise ValueError(f"{folder / 'vae'} holds a {family}, which is none of {known} and needs no shim.")
    return index, family


@dataclass(frozen=True)
class _Import:
    """One name that a module takes from another."""

    module: str
    name: str | None  # of what is taken, `None` for the module itself
    bound: str

    @property
    def clause(self) -> str:
        taken = self.module if self.name is None else self.name
        return taken if self.bound == taken else f"{taken} as {self.bound}"

    def __str__(self) -> str:
        return f"import {self.clause}" if self.name is None else f"from {self.module} import {self.clause}"


class _Module:
    """A module's source, and what it takes from its own package and from others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = inspect.getsource(importlib.import_module(name))
        self.tree = ast.parse(self.source)
        self.imports = [s for s in self.tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
        self.internal: list[_Import] = []
        self.external: list[_Import] = []
        for statement in self.imports:
            for taken in _taken(statement):
                (self.internal if self.owns(taken) else self.external).append(taken)
        self.check_internal_imports()

    def owns(self, taken: _Import) -> bool:
        return taken.module.split(".")[0] in ("", self.name.split(".")[0])  # "" before the dot of a relative import

    def check_internal_imports(self) -> None:
        for statement in ast.walk(self.tree):
            for taken in _taken(statement):
                plain = statement in self.imports and taken.name == taken.bound and not taken.module.startswith(".")
                optional = statement not in self.imports and taken.module in LEFT_OUT
                if self.owns(taken) and not plain and not optional:
                    raise ValueError(
                        f"{self.name} has `{taken}`; import names from the full name of their module, at the top, and "
                        f"do not rename them."
                    )

    def definitions(self) -> list[str]:
        """Names that the module itself gives a meaning to, be it by an import in a branch."""
        symbols = symtable.symtable(self.body(), self.name, "exec").get_symbols()
        return [symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()]

    def assignments(self) -> dict[str, str]:
        """Source of each assignment at the top, by the name that it gives a meaning to."""
        plain = [s for s in self.tree.body if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)]
        return {ast.unparse(s.targets[0]): ast.unparse(s) for s in plain}

    def body(self) -> str:
        """All but the imports, under a comment with the module's name and docstring."""
        lines = self.source.splitlines()
        docstring = ast.get_docstring(self.tree)
        for statement in [*self.imports, *self.tree.body[: docstring is not None]]:
            first, last = statement.lineno - 1, statement.end_lineno or statement.lineno
            lines[first:last] = [""] * (last - first)
        comment = [self.name, *(docstring or "").splitlines()]
        return "\n".join(f"# {line}".rstrip() for line in comment) + "\n\n\n" + "\n".join(lines).strip("\n")


def _taken(statement: ast.AST) -> Iterator[_Import]:
    """What an import takes; nothing from any other statement."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield _Import(alias.name, None, alias.asname or alias.name)
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            yield _Import("." * statement.level + (statement.module or ""), alias.name, alias.asname or alias.name)


def _collect(name: str, modules: dict[str, _Module]) -> None:
    """Add a module, after all that it imports from its own package."""
    if name in modules:
        return
    module = _Module(name)
    for taken in module.internal:
        _collect(taken.module, modules)
    modules[name] = module


def _check_names(modules: Iterable[_Module]) -> None:
    """Raise `ValueError` unless every name means the same in all modules; equal assignments do."""
    meanings = dict.fromkeys(dir(builtins), "a builtin")
    assignments: set[str] = set()
    for module in modules:
        repeated = {name for name, source in module.assignments().items() if source in assignments}
        assignments |= set(module.assignments().values())
        for taken in module.internal:
            if meanings.get(taken.bound) != f"defined in {taken.module}":
                raise ValueError(f"{module.name} has `{taken}`; import it from the module that defines it.")
        claims = [(taken.bound, str(taken)) for taken in module.external]
        claims += [(name, f"defined in {module.name}") for name in module.definitions() if name not in repeated]
        for name, meaning in claims:
            if meanings.setdefault(name, meaning) != meaning:
                raise ValueError(
                    f"`{name}` in {module.name} is {meaning}, elsewhere {meanings[name]}; rename one of them."
                )


def _merged_imports(modules: Iterable[_Module]) -> str:
    """Standard library first, then the rest; in each, modules before names out of modules."""
    groups: tuple[list[str], list[str]] = ([], [])
    taken = {taken for module in modules for taken in module.external}
    for source in sorted({t.module for t in taken}):
        group = groups[source.split(".")[0] not in sys.stdlib_module_names]
        group += sorted(str(t) for t in taken if t.module == source and t.name is None)
        names = sorted(t.clause for t in taken if t.module == source and t.name is not None)
        if names:
            group.append(f"from {source} import {', '.join(names)}")
    sections = [sorted(group, key=lambda line: line.startswith("from ")) for group in groups if group]
    return "\n\n".join("\n".join(section) for section in sections)
