"""Speed of residual code search, compared with transformers' DAC and EnCodec and vector-quantize-pytorch.

Weights are equal. Times are medians of alternating runs in one process. A run before, which is not timed, compares the
codes. The plain form searches in the latent space (as EnCodec and vector-quantize-pytorch). The projected form has a
linear layer before and after each codebook and searches by cosine similarity (as DAC).

    pip install vector-quantize-pytorch==1.32
    python benchmarks/quantizer_speed.py --threads 1 --repeats 15
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from command_line import Parser, count, main_or_exit
from measuring import median_seconds
from torch import Tensor
from transformers import DacConfig, EncodecConfig
from transformers.models.dac.modeling_dac import DacResidualVectorQuantizer
from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer

from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.modules.quantization import Codebook, ResidualVectorQuantizer, VectorQuantizer

try:
    from vector_quantize_pytorch import ResidualVQ
except ImportError:
    ResidualVQ = None


@dataclass(frozen=True)
class Case:
    """Sizes of codebooks and latents.

    Args:
        num_codebooks (`int`): Number of residual codebooks.
        codebook_size (`int`): Codes per codebook.
        dim (`int`): Dimensions of the code vectors.
        frames (`int`): Number of latent frames.
        channels (`int`): Channels of the latents in the projected form.
    """

    num_codebooks: int
    codebook_size: int
    dim: int
    frames: int
    channels: int = 1024

    def __str__(self) -> str:
        return f"{self.num_codebooks} x {self.codebook_size} x {self.dim}"


CASES = (Case(9, 1024, 8, 4096), Case(32, 1024, 128, 2048), Case(1, 8192, 512, 2048))
Runs = dict[str, Callable[[], Tensor]]  # -> codes (1, num_codebooks, frames)


def plain_runs(case: Case) -> Runs:
    """Return searches of all libraries with the same codebooks."""
    torch.manual_seed(0)
    latents = torch.randn(1, case.dim, case.frames)
    ours = ResidualVectorQuantizer(
        VectorQuantizer(case.dim, Codebook(case.codebook_size, case.dim)) for _ in range(case.num_codebooks)
    ).eval()
    config = EncodecConfig(
        codebook_size=case.codebook_size, codebook_dim=case.dim, target_bandwidths=[bandwidth_of(case)]
    )
    encodec: Any = EncodecResidualVectorQuantizer(config).eval()
    assert encodec.num_quantizers == case.num_codebooks
    for q in range(case.num_codebooks):
        vectors = ours.quantizers[q].codebook.vectors.mul_(0.7**q)  # later codebooks are finer
        encodec.layers[q].codebook.embed.copy_(vectors)
    runs: Runs = {
        "ours": lambda: ours.encode(latents),
        "addmm and argmin": lambda: by_argmin([q.codebook.vectors for q in ours.quantizers], latents),
        "EnCodec": lambda: encodec.encode(latents).transpose(0, 1),
    }
    if ResidualVQ is not None:
        sizes = {"num_quantizers": case.num_codebooks, "codebook_size": case.codebook_size}
        other = ResidualVQ(dim=case.dim, **sizes).eval()
        for q in range(case.num_codebooks):
            other.layers[q]._codebook.embed.data.copy_(ours.quantizers[q].codebook.vectors[None])
        channels_last = latents.transpose(1, 2).contiguous()
        runs["vector-quantize-pytorch"] = lambda: other(channels_last)[1].transpose(1, 2)
    return runs


def by_argmin(codebooks: list[Tensor], latents: Tensor) -> Tensor:
    """Return the codes with one addmm and one argmin per codebook."""
    residual, codes = latents[0].T, []
    for vectors in codebooks:
        half_squares = vectors.square().sum(dim=1) / 2
        codes.append(torch.addmm(half_squares, residual, vectors.T, alpha=-1).argmin(dim=1))
        residual = residual - vectors[codes[-1]]
    return torch.stack(codes)[None]


def projected_runs(case: Case) -> Runs:
    """Return our search and DAC's, with the same codebooks and projections."""
    torch.manual_seed(0)
    latents = torch.randn(1, case.channels, case.frames)
    config = DacConfig(
        encoder_hidden_size=case.channels // 16,
        n_codebooks=case.num_codebooks,
        codebook_size=case.codebook_size,
        codebook_dim=case.dim,
    )
    dac = DacResidualVectorQuantizer(config).eval()
    ours = ResidualVectorQuantizer(
        VectorQuantizer(case.channels, Codebook(case.codebook_size, case.dim, cosine=True))
        for _ in range(case.num_codebooks)
    ).eval()
    our: Any
    theirs: Any
    for our, theirs in zip(ours.quantizers, dac.quantizers, strict=True):
        our.codebook.vectors.copy_(theirs.codebook.weight)
        for name in ("in_proj", "out_proj"):
            projection, weight = getattr(our, name), getattr(theirs, name).weight
            projection.weight_v.data.copy_(weight)
            projection.weight_g.data.copy_(torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True))
            projection.bias.data.copy_(getattr(theirs, name).bias)
    return {"ours": lambda: ours.encode(latents), "DAC": lambda: dac(latents)[1]}


def bandwidth_of(case: Case) -> float:
    """Return the bandwidth in kbit/s for which EnCodec uses `num_codebooks`, at its 75 frames per second."""
    return case.num_codebooks * 75 * (case.codebook_size - 1).bit_length() / 1000


@torch.no_grad()
def compare(
    runs: Runs, repeats: int, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, float], dict[str, float]]:
    """Return medians in ms, and the share of codes equal to ours."""
    codes = {name: run() for name, run in runs.items()}
    equal = {name: (code == codes["ours"]).double().mean().item() for name, code in codes.items()}
    seconds = median_seconds(list(runs.values()), repeats, clock)
    return {name: 1e3 * value for name, value in zip(runs, seconds, strict=True)}, equal


def main(argv: Sequence[str]) -> None:
    """Print the tables."""
    parser = Parser(__doc__)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--repeats", type=count, default=15)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    if ResidualVQ is None:
        print("vector-quantize-pytorch is not installed and is left out\n")
    rows: list[list[str | float]] = []
    for case in CASES:
        for form, make in (("plain", plain_runs), ("projected", projected_runs)):
            medians, equal = compare(make(case), arguments.repeats)
            others = {name: value for name, value in medians.items() if name != "ours"}
            for name, value in others.items():
                ratio = value / medians["ours"]
                rows.append([f"{case}, {form}", name, f"{medians['ours']:.1f}", f"{value:.1f}", ratio, equal[name]])
    print(table(["codebooks", "other", "ours (ms)", "other (ms)", "ratio", "equal codes"], rows))


if __name__ == "__main__":
    main_or_exit(main)
