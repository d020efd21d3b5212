"""What published autoencoders of diffusers and transformers do with lengths, NaN and gradients, and what ours does.

All classes have tiny sizes and random weights, as in the tests; nothing is downloaded.

python benchmarks/published_classes.py
"""

import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from command_line import Parser, main_or_exit
from diffusers import AutoencoderOobleck, LongCatAudioDiTVae
from torch import Tensor

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO))

from hf_audio_vae.evaluation.reports import table  # noqa: E402
from hf_audio_vae.models import load_autoencoder  # noqa: E402
from hf_audio_vae.models.peers import PEERS  # noqa: E402
from hf_audio_vae.models.published_formats import PUBLISHED_FORMATS  # noqa: E402
from tests.models.peers.tiny import TINY  # noqa: E402
from tests.models.peers.tiny_vaes import by_distribution  # noqa: E402
from tests.models.test_published_formats import original  # noqa: E402

Run = Callable[[Any, Tensor], Tensor]
LENGTHS = (1 / 8, 1, 1.5, 2.25, 5, 7.875)  # in frames


def references() -> dict[str, tuple[Callable[[], Any], Run]]:
    """Return how to build each class, and how it reconstructs a waveform by its own methods."""
    found: dict[str, tuple[Callable[[], Any], Run]] = {}
    for name, tiny in TINY.items():
        if facts := tiny.codec or tiny.vae:
            found[name] = (tiny.new, _last_of(facts.reference))
    found["AutoencoderOobleck"] = (lambda: original("AutoencoderOobleck"), _last_of(by_distribution))
    for name in ("DacModel", "EncodecModel"):
        found[name] = (lambda name=name: original(name), lambda model, x: model(x).audio_values)  # type: ignore[misc]
    return found


def _last_of(reference: Callable[..., tuple[Any, ...]]) -> Run:
    return lambda model, x: reference(model, x)[-1]


def waveform(channels: int, time: int) -> Tensor:
    """Return noise."""
    return 0.3 * torch.randn(1, channels, time, generator=torch.Generator().manual_seed(time))


@torch.no_grad()
def lost(run: Run, model: Any, channels: int, hop_length: int) -> str:
    """Return the most samples that a reconstruction lacks, and the lengths in frames that fail."""
    missing, failing = 0, []
    for frames in LENGTHS:
        x = waveform(channels, max(round(frames * hop_length), 1))
        try:
            missing = max(missing, x.shape[-1] - run(model, x).shape[-1])
        except Exception:  # of any type: it is what a user meets
            failing.append(f"{frames:g}")
    return ", ".join([str(missing), *([f"fails at {' '.join(failing)} frames"] if failing else [])])


@torch.no_grad()
def takes_nan(run: Run, model: Any, x: Tensor) -> str:
    """Return what comes of one sample that is not a number."""
    x = x.clone()
    x[..., x.shape[-1] // 2] = torch.nan
    try:
        share = float(run(model, x).isnan().double().mean())
    except Exception as error:  # of any type
        return "refused" if isinstance(error, ValueError) else type(error).__name__
    return f"{share:.0%} of the output" if share else "unnoticed"


def encoder_learns(run: Run, model: Any, encoder: torch.nn.Module, x: Tensor) -> str:
    """Return whether the loss of a reconstruction has a gradient with respect to the encoder."""
    model.zero_grad()
    with torch.enable_grad():
        output = run(model, x)
        if not output.requires_grad:
            return "no"
        output.square().mean().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    return "yes" if any(gradient is not None and bool(gradient.any()) for gradient in gradients) else "no"


@torch.no_grad()
def chunk_error(model: Any, x: Tensor) -> str:
    """Return the largest difference of coding in chunks, relative to the largest sample, or that it is refused."""
    whole = model(x).sample
    try:
        model.enable_tiling(8)
    except ValueError:
        return "refused"
    return f"{float((model(x).sample - whole).abs().max() / whole.abs().max()):.0e}"


def wrong_hop_length(name: str, model: Any, hop_length: int) -> str:
    """Return the attributes that give another hop length than the measured one."""
    places = {"": model, "config.": model.config}
    found = {
        f"{prefix}{key}": getattr(place, key)
        for prefix, place in places.items()
        for key in ("hop_length", "downsampling_ratio")
        if getattr(place, key, None) is not None
    }
    return ", ".join(f"{name} `{key}` {value}" for key, value in found.items() if value != hop_length)


@torch.no_grad()
def oobleck_in_tiles() -> str:
    """Return what diffusers' tiles and chunks of this package do to 47 s at 44.1 kHz, with the published strides."""
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(8, [2, 4, 4, 8, 8], [1, 1, 2, 2, 4], 8, 4, audio_channels=1).eval()
    own, x = ours("AutoencoderOobleck", theirs), waveform(1, 47 * 44100)
    cells = []
    for whose, model in (("AutoencoderOobleck", theirs), ("this package", own)):
        whole = model.encode(x).latent_dist.mode()
        model.enable_tiling()
        tiled = model.encode(x).latent_dist.mode()
        frames = min(whole.shape[-1], tiled.shape[-1])
        error = (whole[..., :frames] - tiled[..., :frames]).abs().max() / whole.abs().max()
        cells.append(f"{whose} {tiled.shape[-1]} frames instead of {whole.shape[-1]}, error {float(error):.0e}")
    return "; ".join(cells)


def ours(name: str, published: Any) -> Any:
    """Return the model of this package for a published one, through its folder."""
    if name in PEERS:
        return PEERS[name](published).eval()
    with tempfile.TemporaryDirectory() as folder:
        published.save_pretrained(folder)
        return load_autoencoder(folder)


def main(argv: Sequence[str]) -> None:
    """Print a row for each class and one for the same model in this package."""
    parser = Parser(__doc__)
    known = sorted(references())
    parser.add_argument("--only", nargs="+", choices=known, default=known, help="classes; default all")
    arguments = parser.parse_args(argv)
    warnings.filterwarnings("ignore")
    rows: list[list[str]] = []
    wrong: list[str] = []
    for name in arguments.only:
        if (library := TINY[name].needs if name in TINY else None) and not _installed(library):
            rows.append([name, f"not measured: {library} is not installed", "", "", ""])
            continue
        new, run = references()[name]
        model = ours(name, new())
        channels, hop_length = model.config.audio_channels, model.hop_length
        x = waveform(channels, 40 * hop_length)
        theirs = new()
        wrong += filter(None, [wrong_hop_length(name, theirs, hop_length)])
        part = next(getattr(theirs, part) for part in ("acoustic_encoder", "encoder") if hasattr(theirs, part))
        rows.append([name, lost(run, theirs, channels, hop_length), takes_nan(run, theirs, x), "-"])
        rows[-1].insert(3, encoder_learns(run, theirs, part, x))
        own: Run = lambda wrapped, sound: wrapped(sound).sample  # noqa: E731
        row = [f"{name}, loaded by this package", lost(own, model, channels, hop_length), takes_nan(_strict, model, x)]
        rows.append([*row, encoder_learns(own, model, model.encoder, x), chunk_error(model, x)])
        print(f"{name} done", file=sys.stderr)
    print(table(["class", "samples lost", "one NaN sample", "gradient to the encoder", "error of chunks"], rows))
    default = LongCatAudioDiTVae(channels=8)  # its other arguments have their defaults
    wrong.append(wrong_hop_length("LongCatAudioDiTVae()", default, ours("LongCatAudioDiTVae", default).hop_length))
    print(f"\nhop lengths that are not those measured: {'; '.join(wrong)}")
    print(f"encoding of 47 s in tiles: {oobleck_in_tiles()}")
    print(f"\n{len(PEERS)} classes by adapters, {len(PUBLISHED_FORMATS)} by families that equal them")


def _strict(model: Any, x: Tensor) -> Tensor:
    model.encode(x)
    return x


def _installed(library: str) -> bool:
    return find_spec(library) is not None


if __name__ == "__main__":
    main_or_exit(main)
