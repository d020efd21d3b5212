"""Files that hold one traced graph, and beside it what its caller has to know: ONNX, or a program of torch itself.

ONNX keeps metadata as strings by name: each is JSON, so that the string "1.0" is not the number. A program of torch
has it in one JSON file, `metadata.json`.
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
    """A program with names for what goes in and comes out.

    Args:
        program (`torch.export.ExportedProgram`): The graph.
        dynamic_shapes (`tuple`): What it was traced with.
        inputs (`list[str]`): Names, in order.
        outputs (`list[str]`): Names, in order.
        metadata (`Mapping[str, object]`): What a caller has to know, fit for JSON.
    """

    program: ExportedProgram
    dynamic_shapes: tuple[object, ...]
    _: KW_ONLY
    inputs: list[str]
    outputs: list[str]
    metadata: Mapping[str, object]


@dataclass(frozen=True)
class GraphFormat:
    """A kind of file.

    Args:
        suffix (`str`): Of its name.
        write (`Callable[[Graph, Path], None]`): Write a file.
        load (`Callable[[Path], Callable[..., tuple[torch.Tensor, ...]]]`): Return what runs a file's graph.
        read_metadata (`Callable[[Path], dict[str, object]]`): Return what a file says of its graph.
        libraries (`tuple[str, ...]`): Those beside torch that these three import.
    """

    suffix: str
    _: KW_ONLY
    write: Callable[[Graph, Path], None]
    load: Callable[[Path], Callable[..., tuple[Tensor, ...]]]
    read_metadata: Callable[[Path], dict[str, object]]
    libraries: tuple[str, ...] = ()


def _write_onnx(graph: Graph, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "# The axis name")  # inputs that share their batch share its name, too
        written: Any = torch.onnx.export(
            graph.program,
            input_names=graph.inputs,
            output_names=graph.outputs,
            dynamic_shapes=graph.dynamic_shapes,
            verbose=False,
        )
    for node in written.model.graph:
        node.metadata_props.clear()  # where the code lies on this machine
    written.model.metadata_props.update({name: json.dumps(value) for name, value in graph.metadata.items()})
    written.save(path)


def _load_onnx(path: Path) -> Callable[..., tuple[Tensor, ...]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        arrays = {name: one.numpy() for name, one in zip(names, inputs, strict=True)}
        return tuple(map(torch.from_numpy, session.run(None, arrays)))

    return run


def _read_onnx(path: Path) -> dict[str, object]:
    import onnx

    return {entry.key: json.loads(entry.value) for entry in onnx.load(path, load_external_data=False).metadata_props}


def _write_torch(graph: Graph, path: Path) -> None:
    program = graph.program.run_decompositions({})  # else a file cannot hold autocast in autocast
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where the code lies on this machine
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
