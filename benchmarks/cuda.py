"""All measurements for a machine with CUDA, in a few minutes.

Sections run one after another, each with a time limit. A section that cannot run is skipped with a reason. Tables are
printed and written as Markdown and JSON after each section, so that an interrupted run keeps them.

    make gpu                                          # all sections, 8 minutes
    python benchmarks/cuda.py --only kernels coding   # selected sections
    python benchmarks/cuda.py --dry_run               # all sections at tiny size on the CPU, under a minute

On a machine without this package's environment, `PYTHONPATH=src` is enough. torch 2.11 and transformers 5.17 or newer
are required. Other sections use diffusers, datasets, pydantic, soundfile and soxr, which can be installed from wheels.
"""

import argparse
import importlib
import importlib.metadata
import json
import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from command_line import Parser, amount, main_or_exit, output_path
from gpu.setting import Setting, SkippedError, Table
from measuring import markdown_table

from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels

# Time limit of each section in seconds; `train` uses the remaining time.
SECTIONS = {"roofline": 15, "kernels": 40, "coding": 200, "training": 100, "search": 25, "train": 0}
LIBRARIES = ("torch", "triton", "transformers", "diffusers", "accelerate", "datasets", "soundfile", "soxr")


@dataclass
class Outcome:
    """Tables of a section, and reasons for missing ones."""

    section: str
    seconds: float = 0.0
    tables: list[Table] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the heading and the tables."""
        lines = [f"## {self.section} ({self.seconds:.0f} s)"]
        for kind, texts in (("skipped", self.skipped), ("failed", self.failed)):
            lines += [f"\n{kind}: {text}" for text in texts]
        for table in self.tables:
            lines += ["", table.title + ("" if table.rows else ": none"), ""]
            lines += [markdown_table(table.header, table.rows)] if table.rows else []
        return "\n".join(lines) + "\n"


def machine(device: torch.device) -> dict[str, str]:
    """Return versions and the GPU."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found["card"] = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {card.multi_processor_count} processors"
        found["cuda"] = str(torch.version.cuda)
    return found


def measure(outcome: Outcome, setting: Setting, recipe: str, options: Sequence[str]) -> None:
    """Run a section and continue after a failed table."""
    started = time.monotonic()
    with _recorded(outcome):
        section = importlib.import_module(f"gpu.{outcome.section}")
        tables = section.run(setting, recipe, options) if outcome.section == "train" else section.run(setting)
        for make_table in tables:
            if setting.seconds_left < 0:
                outcome.skipped.append("no time left for the rest")
                break
            with _recorded(outcome):
                table = make_table()
                outcome.tables.append(table)
                outcome.failed += [f"{table.title}: wrong: {row}" for row in table.wrong]
    with _recorded(outcome):
        if setting.device.type == "cuda":
            torch.cuda.empty_cache()
    outcome.seconds = time.monotonic() - started


@contextmanager
def _recorded(outcome: Outcome) -> Iterator[None]:
    """Record an exception in the outcome and continue."""
    try:
        yield
    except (SkippedError, ModuleNotFoundError) as error:
        outcome.skipped.append(str(error))
    except Exception as error:
        outcome.failed.append(f"{type(error).__name__}: {error}")


def write(folder: Path, about: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    """Write the results so far."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, "sections": [asdict(outcome) for outcome in outcomes]}
    (folder / "cuda.json").write_text(json.dumps(content, indent=1) + "\n")
    heading = ", ".join(f"{name} {version}" for name, version in about.items())
    (folder / "cuda.md").write_text(f"{heading}\n\n" + "\n".join(outcome.markdown() for outcome in outcomes))


def main(argv: Sequence[str]) -> int:
    """Parse the options and run the sections; return 1 if one failed."""
    parser = Parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--minutes", type=amount, default=8.0, help="time limit of all sections")
    parser.add_argument(
        "--output_dir", type=output_path, help="default outputs/gpu, or outputs/gpu-dry-run in a dry run"
    )
    parser.add_argument("--dry_run", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--recipe", default="stft-vae-demo", help="recipe of the section `train`")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="after `--`: options of the training script")
    arguments = parser.parse_args(argv)
    if not arguments.dry_run and not torch.cuda.is_available():
        parser.error("there is no CUDA device; use --dry_run to check that all sections run.")
    warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)  # diffusers' Oobleck
    device = torch.device("cpu" if arguments.dry_run else "cuda")
    allow_compiled_kernels()  # of a dry run
    folder = arguments.output_dir or Path("outputs/gpu-dry-run" if arguments.dry_run else "outputs/gpu")
    setting = Setting(device, arguments.dry_run, folder)
    about = machine(device)
    print(", ".join(f"{name} {version}" for name, version in about.items()), flush=True)
    end = time.monotonic() + 60 * arguments.minutes
    outcomes: list[Outcome] = []
    for name in [name for name in SECTIONS if name in arguments.only]:
        setting.deadline = min(end, time.monotonic() + SECTIONS[name]) if SECTIONS[name] else end
        outcomes.append(Outcome(name))
        measure(outcomes[-1], setting, arguments.recipe, arguments.options[1:])
        print("\n" + outcomes[-1].markdown(), flush=True)
        write(folder, about, outcomes)
    print(f"total {sum(outcome.seconds for outcome in outcomes):.0f} s, written to {folder}")
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    main_or_exit(main)
