"""Time and memory of `WaveformVAE` compared with diffusers' `AutoencoderOobleck`, on equal weights and on the CPU.

Forms of both models alternate in one process. Times are medians. A run before, which is not timed, compares the
outputs with Oobleck's. Oobleck's tiled encoder may lose frames; then it does not count as the best Oobleck. The
compiled form is compiled for each length. Memory is the peak of tensor memory beyond weights, input and output,
recorded by `torch.profiler`.

    python benchmarks/waveform_vae_vs_oobleck.py --config stable-audio-open --seconds 10 --threads 2 --repeats 3

Plain layers allocate new memory for every activation, and the system has to provide its pages. To measure without that
cost, use an allocator that keeps its pages:

    MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456 python ...
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from command_line import Parser, amount, count, main_or_exit
from diffusers import AutoencoderOobleck
from measuring import median_seconds, print_table, relative_difference, working_mib
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.runtime.native import native_kernels

CONFIGS: dict[str, dict[str, int | list[int]]] = {
    "small": {
        "encoder_hidden_size": 32,
        "downsampling_ratios": [2, 4, 8, 8],
        "channel_multiples": [1, 2, 4, 8],
        "decoder_channels": 32,
        "decoder_input_channels": 16,
    },
    "stable-audio-open": {},  # the defaults of both classes
}
PLAIN, FUSED = "Oobleck", "fused"
OOBLECKS = (PLAIN, "Oobleck, tiled", "Oobleck, compiled")
FORMS = (*OOBLECKS, "plain", "tiled", FUSED, "fused, bfloat16")


@dataclass(frozen=True)
class Form:
    """Encoder and decoder of a model in one form."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def build(config: str, names: Sequence[str]) -> dict[str, Form]:
    """Return the named forms of both models, all with the same random weights."""
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(**CONFIGS[config]).eval()
    with torch.device("meta"):
        ours = WaveformVAE(**CONFIGS[config]).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    forms = {name: _form(name, ours, theirs) for name in names if name != "fused, bfloat16"}
    if "fused, bfloat16" in names and native_kernels(torch.bfloat16) is not None:
        half = WaveformVAE(**CONFIGS[config]).eval()
        half.load_state_dict(theirs.state_dict())
        forms["fused, bfloat16"] = _form("fused, bfloat16", torch.nn.Module.to(half, torch.bfloat16), theirs)
    return forms


def _form(name: str, ours: WaveformVAE, theirs: AutoencoderOobleck) -> Form:
    model = theirs if name in OOBLECKS else ours
    if name == "Oobleck, compiled":
        torch._dynamo.reset()
        encoder, decoder = (torch.compile(network, dynamic=False) for network in (theirs.encoder, theirs.decoder))
        return Form(lambda x: encoder(x).chunk(2, dim=1)[0], lambda z: decoder(z))
    if name.startswith("fused"):
        model.fuse()
    coder = ours.coder
    tiled = name.endswith("tiled")

    def encode(x: Tensor) -> Tensor:
        prepare()
        return model.encode(x.to(model.dtype)).latent_dist.mean

    def decode(z: Tensor) -> Tensor:
        prepare()
        return model.decode(z.to(model.dtype)).sample

    def prepare() -> None:
        if model is ours:
            model.coder = coder
        model.enable_tiling() if tiled else model.disable_tiling()

    return Form(encode, decode)


def example(config: str, task: str, seconds: float) -> Tensor:
    """Return a random waveform or random latents."""
    with torch.device("meta"):
        model = WaveformVAE(**CONFIGS[config])
    frames = round(seconds * model.frame_rate)
    shape = {
        "encode": (1, model.config.audio_channels, frames * model.hop_length),
        "decode": (1, model.latent_channels, frames),
    }[task]
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def compare(task: str, forms: dict[str, Form], x: Tensor, *, repeats: int, seconds: float, memory: bool) -> None:
    """Print time, error and memory of all forms for a task."""
    runs = {name: functools.partial(getattr(form, task), x) for name, form in forms.items()}
    expected = runs[PLAIN]()
    errors, agreeing = {}, set()
    for name, run in runs.items():
        errors[name] = 0.0 if name == PLAIN else relative_difference(run().float(), expected)
        if errors[name] <= (5e-2 if "bfloat16" in name else 1e-5):
            agreeing.add(name)
        elif (task, name) != ("encode", "Oobleck, tiled"):
            raise SystemExit(f"{task}, {name}: the output differs by {errors[name]:.1e} of the largest.")
    del expected
    times = dict(zip(runs, median_seconds(list(runs.values()), repeats), strict=True))
    best = min(times[name] for name in OOBLECKS if name in agreeing)
    rows: list[list[str | float]] = []
    for name, run in runs.items():
        row = [name, times[name], seconds / times[name], times[PLAIN] / times[name], best / times[name], errors[name]]
        measured = memory and name != "Oobleck, compiled"  # the profiler misses allocations of compiled code
        rows.append([*row, working_mib(run) if measured else "-"])
    header = [task, "s", "x real time", "speed / plain Oobleck", "speed / best Oobleck", "error", "MiB"]
    print_table(header, rows)


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the tables."""
    parser = Parser(__doc__)
    parser.add_argument("--config", choices=CONFIGS, default="small")
    parser.add_argument("--tasks", nargs="+", choices=["encode", "decode"], default=["encode", "decode"])
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument("--seconds", type=amount, nargs="+", default=[24], help="lengths of the audio")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    parser.add_argument("--memory", action="store_true", help="also measure memory, with one more run of each form")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    names = [name for name in FORMS if name in {PLAIN, *arguments.forms}]
    with torch.inference_mode():
        for seconds in arguments.seconds:
            forms = build(arguments.config, names)
            print(f"\n{arguments.config}, {seconds:g} s of audio, {arguments.threads} threads")
            for task in arguments.tasks:
                x = example(arguments.config, task, seconds)
                compare(task, forms, x, repeats=arguments.repeats, seconds=seconds, memory=arguments.memory)


if __name__ == "__main__":
    main_or_exit(main)
