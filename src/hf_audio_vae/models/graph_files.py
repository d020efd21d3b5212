"""Files of one traced graph and its metadata: ONNX, or torch's own programs.

ONNX stores metadata as strings by name. Each string is JSON, to distinguish the string "1.0" from the number. A torch
program stores its metadata in one JSON file, `metadata.json`.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

FACTS = "metadata.json"


@dataclass(frozen=True)
class Graph:
    """A program with named inputs and outputs.

    Args:
        program (`torch.export.ExportedProgram`): The graph.
        dynamic_shapes (`tuple`): The dynamic shapes that it was traced with.
        inputs (`list[str]`): Names of the inputs, in order.
        outputs (`list[str]`): Names of the outputs, in order.
        metadata (`Mapping[str, object]`): Facts for callers, as JSON values.
    """

    program: ExportedProgram
    dynamic_shapes: tuple[object, ...]
    _: KW_ONLY
    inputs: list[str]
    outputs: list[str]
    metadata: Mapping[str, object]


@dataclass(frozen=True)
class GraphFormat:
    """A file format of graphs.

    Args:
        suffix (`str`): Suffix of the file name.
        write (`Callable[[Graph, Path], None]`): Write a file.
        load (`Callable[[Path], Callable[..., tuple[torch.Tensor, ...]]]`): Return a function
            that runs the graph of a file.
        read_metadata (`Callable[[Path], dict[str, object]]`): Return the metadata of a file.
        libraries (`tuple[str, ...]`): Libraries that these three functions import, except torch.
    """

    suffix: str
    _: KW_ONLY
    write: Callable[[Graph, Path], None]
    load: Callable[[Path], Callable[..., tuple[Tensor, ...]]]
    read_metadata: Callable[[Path], dict[str, object]]
    libraries: tuple[str, ...] = ()


def _write_onnx(graph: Graph, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name")  # inputs share the batch axis and its name
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)  # of torch's own use
        written: Any = torch.onnx.export(
            graph.program,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.dynamic_shapes,
            verbose=False,
        )
    for node in written.model.graph:
        node.metadata_props.clear()  # paths of the code on this machine
    written.model.metadata_props.update({name: json.dumps(value) for name, value in graph.metadata.items()})
    written.save(path)


def _load_onnx(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, arrays)))

    return run


def _read_onnx(path: Path) -> dict[str, object]:
    import onnx

    return {entry.key: json.loads(entry.value) for entry in onnx.load(path, load_external_data=False).metadata_props}


def _write_torch(graph: Graph, path: Path) -> None:
    program = graph.program.run_decompositions({})  # files cannot hold nested autocast otherwise
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of the code on this machine
    torch.export.save(program, path, extra_files={FACTS: json.dumps(graph.metadata)})


def _load_torch(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    return torch.export.load(path).module()


def _read_torch(path: Path) -> dict[str, object]:
    files = {FACTS: ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files[FACTS])


ONNX = GraphFormat(
    ".onnx",
    write=_write_onnx,
    load=_load_onnx,
    read_metadata=_read_onnx,
    libraries=("onnx", "onnxruntime", "onnxscript"),
)
TORCH = GraphFormat(".pt2", write=_write_torch, load=_load_torch, read_metadata=_read_torch)
