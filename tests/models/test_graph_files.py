"""What is written beside a graph, read back."""

import pytest
import torch
from torch import nn
from torch.export import Dim

from hf_audio_vae.models.graph_files import ONNX, TORCH, Graph, GraphFormat


@pytest.mark.parametrize("file_format", [ONNX, TORCH], ids=["onnx", "torch"])
def test_a_file_runs_and_gives_back_every_value_of_its_metadata(file_format: GraphFormat, tmp_path):
    class Twice(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (2 * x,)

    shapes = ({0: Dim("batch", min=1)},)
    program = torch.export.export(Twice(), (torch.zeros(2, 3),), dynamic_shapes=shapes)
    # Strings that look like other values are what a reader that guesses takes for them.
    metadata = {"version": "1.0", "name": "null", "text": 'a "b"', "rate": 1.0, "sizes": [1, 2], "mean": None}
    path = tmp_path / f"twice{file_format.suffix}"
    file_format.write(Graph(program, shapes, inputs=["x"], outputs=["y"], metadata=metadata), path)
    assert file_format.read_metadata(path) == metadata
    assert torch.equal(file_format.load(path)(torch.ones(5, 3))[0], torch.full((5, 3), 2.0))
