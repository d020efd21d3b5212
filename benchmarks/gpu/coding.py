"""Encoding and decoding compared with `AutoencoderOobleck` on equal weights, and the share of the roofline."""

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from gpu.setting import Cell, Part, Setting, SkippedError, Table, tf32
from measuring import median_seconds, relative_difference
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from hf_audio_vae import WaveformVAE
from hf_audio_vae.modules.snake import use_kernels

TINY = {
    "encoder_hidden_size": 16,
    "downsampling_ratios": [2, 4],
    "channel_multiples": [1, 2],
    "decoder_channels": 8,
    "decoder_input_channels": 8,
}
STATIC_CHUNK_SECONDS = 12.0
REPEATS = 3
CASES = ((10.0, 1), (47.0, 1), (10.0, 8), (47.0, 8))  # seconds, batch
DRY_CASES = ((0.02, 1),)
MAX_ERROR = {torch.float32: 1e-2, torch.bfloat16: 5e-2}  # relative to the largest value


@dataclass(frozen=True)
class Form:
    """A model with or without Snake kernels, and the cases to run it for."""

    name: str
    model: Any
    kernels: bool = True
    cases: tuple[tuple[float, int], ...] = CASES + DRY_CASES

    def encode(self, x: Tensor) -> Tensor:
        """(batch, audio_channels, time) -> means (batch, latent_channels, frames)."""
        with self._kernels():
            return self.model.encode(x.to(self.model.dtype)).latent_dist.mean

    def decode(self, z: Tensor) -> Tensor:
        """(batch, latent_channels, frames) -> (batch, audio_channels, time)."""
        with self._kernels():
            return self.model.decode(z.to(self.model.dtype)).sample

    @contextmanager
    def _kernels(self) -> Iterator[None]:
        device = self.model.device.type
        previous = use_kernels(device, None)
        use_kernels(device, previous if self.kernels else None)
        try:
            yield
        finally:
            use_kernels(device, previous)


def run(setting: Setting) -> Iterator[Part]:
    """Time all forms at 10 s and 47 s, batch 1 and 8."""
    try:
        from diffusers import AutoencoderOobleck
    except ImportError as error:
        raise SkippedError(f"diffusers is not installed: {error}") from error
    config: dict[str, Any] = TINY if setting.dry_run else {}
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(**config).to(setting.device).eval()
    for dtype in (torch.float32, torch.bfloat16):
        forms = build_forms(theirs, config, dtype, setting)
        for case, task in itertools.product(DRY_CASES if setting.dry_run else CASES, ("encode", "decode")):
            chosen = [form for form in forms if case in form.cases]
            yield functools.partial(compare, setting, task, theirs, chosen, *case, dtype)


def build_forms(theirs: Any, config: dict[str, Any], dtype: torch.dtype, setting: Setting) -> list[Form]:
    """Return forms of both models in a dtype, all with the same weights."""

    def oobleck() -> Any:
        model = type(theirs)(**config).eval()
        model.load_state_dict(theirs.state_dict())
        return nn.Module.to(model, setting.device, dtype)

    def ours() -> Any:
        model: Any = WaveformVAE(**config).eval()
        model.load_state_dict(theirs.state_dict())
        return nn.Module.to(model, setting.device, dtype)

    options = {"backend": "eager"} if setting.dry_run else {}
    graphs = options or {"mode": "reduce-overhead"}
    compiled, fused, static, plain = oobleck(), ours(), ours(), ours()
    for network in (compiled.encoder, compiled.decoder):
        network.compile(dynamic=False, **options)
    fused.fuse()
    # Folded weights and chunks of one shape: one graph per network, replayed for every chunk.
    static.fuse()
    folded = [form.folded for form in static.coder.networks.values() if form.folded is not None]
    if folded:
        static.enable_tiling(100 if setting.dry_run else round(STATIC_CHUNK_SECONDS * static.frame_rate))
        for network in folded:
            network.compile(fullgraph=True, dynamic=False, **graphs)
    return [
        Form("Oobleck", oobleck()),
        Form("ours, plain", plain, kernels=False),
        Form("ours, kernels", plain),
        Form("ours, fused", fused),
        # A graph takes up to a minute to compile, and a graph of the whole signal fits only one length.
        Form("ours, static chunks, CUDA graphs", static, cases=(*CASES[:2], *DRY_CASES)),
        Form("Oobleck, compiled", compiled, cases=(CASES[0], *DRY_CASES)),
    ]


@torch.inference_mode()
def compare(
    setting: Setting, task: str, theirs: Any, forms: list[Form], seconds: float, batch: int, dtype: torch.dtype
) -> Table:
    """Time the forms for one case. Errors are relative to plain Oobleck in full float32."""
    x = example(theirs, task, seconds, batch).to(setting.device)
    with tf32(False):
        expected = getattr(Form("", theirs), task)(x).float()
    bound = roofline_seconds(setting, task, theirs, x, dtype)
    runs: dict[str, Callable[[], Tensor]] = {}
    errors: dict[str, float] = {}
    rows: list[list[Cell]] = []
    with tf32(True):
        for form in forms:
            run: Callable[[], Tensor] = functools.partial(getattr(form, task), x)
            try:
                if setting.seconds_left < 0:
                    raise SkippedError("no time left")
                errors[form.name] = relative_difference(run().float(), expected)
                run()
            except Exception as error:  # out of memory or compilation failed; the other forms may still run
                rows.append([f"{form.name}: {type(error).__name__}: {error}"[:100], *6 * ["-"]])
                continue
            runs[form.name] = run
        times = dict(
            zip(
                runs,
                median_seconds(list(runs.values()), 1 if setting.dry_run else REPEATS, setting.clock),
                strict=True,
            )
        )
        for name, function in runs.items():
            ratio = times["Oobleck"] / times[name] if "Oobleck" in times else "-"
            share = bound / times[name] if bound else "-"
            peak = "-" if "graphs" in name else setting.peak_mib(function)  # graphs use their own memory pool
            rows.append([name, 1e3 * times[name], batch * seconds / times[name], ratio, share, errors[name], peak])
    limit = MAX_ERROR[dtype]
    kind = "float32 with TF32 convolutions" if dtype == torch.float32 else "bfloat16"
    header = ["", "ms", "x real time", "speed / plain Oobleck", "share of roofline", "error", "peak MiB"]
    wrong = [name for name, error in errors.items() if not error <= limit]
    return Table(f"{task}, {kind}, {seconds:g} s, batch {batch}", header, rows, wrong)


def example(model: Any, task: str, seconds: float, batch: int) -> Tensor:
    """Return a random waveform or random latents."""
    hop = model.hop_length
    frames = max(round(seconds * model.config.sampling_rate / hop), 1)
    channels, length = model.config.audio_channels, frames * hop
    shape = (batch, channels, length) if task == "encode" else (batch, model.config.decoder_input_channels, frames)
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


class ConvolutionBytes(TorchDispatchMode):
    """Counts the bytes that convolutions read and write: the traffic if all other operations are fused into them."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = function(*args, **kwargs or {})
        if function is torch.ops.aten.convolution.default:
            self.total += sum(tensor.nbytes for tensor in (args[0], args[1], output))
        return output


@torch.inference_mode(False)
@torch.no_grad()
def roofline_seconds(setting: Setting, task: str, model: Any, x: Tensor, dtype: torch.dtype) -> float | None:
    """Return the lower bound of the time at the measured rates: the longer of compute and convolution traffic."""
    name = "product, tf32" if dtype == torch.float32 else "product, bfloat16"
    if not {"copy", name} <= setting.peaks.keys():
        return None
    with torch.device("meta"):
        shapes = type(model)(**dict(model.config)).to(dtype)
    network = shapes.encoder if task == "encode" else shapes.decoder
    with FlopCounterMode(display=False) as operations, ConvolutionBytes() as traffic:
        network(torch.empty(x.shape, dtype=dtype, device="meta"))
    if not (traffic.total and operations.get_total_flops()):
        raise RuntimeError("no convolutions were counted.")
    return max(operations.get_total_flops() / setting.peaks[name], traffic.total / setting.peaks["copy"])
