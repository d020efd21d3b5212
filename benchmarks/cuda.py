"""Everything there is to measure on a machine with CUDA, in a few minutes.

Sections run one after another, each with a clock; one that cannot run is skipped with its reason. Tables are printed
and written as Markdown and JSON after each section, so that a run that is cut off keeps them.

    make gpu                                          # all sections, 8 minutes
    python benchmarks/cuda.py --only kernels coding   # some
    python benchmarks/cuda.py --dry_run               # all at tiny size on the CPU, under a minute

On a machine without this package's environment, `PYTHONPATH=src` is enough. torch 2.11 and transformers 5.17 or newer
are needed; diffusers, datasets, pydantic, soundfile and soxr, which other sections use, can be installed from wheels.
"""

import argparse
import importlib
import importlib.metadata
import json
import math
import platform
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from gpu.setting import Setting, SkippedError, Table

# Seconds of each section; training has those that are left.
SECTIONS = {"roofline": 15, "kernels": 40, "coding": 200, "training": 100, "search": 25, "train": 0}
LIBRARIES = ("torch", "triton", "transformers", "diffusers", "accelerate", "datasets", "soundfile", "soxr")


@dataclass
class Outcome:
    """What a section found, or why it did not."""

    section: str
    seconds: float = 0.0
    tables: Sequence[Table] = field(default_factory=tuple)
    skipped: str | None = None
    failed: str | None = None

    def markdown(self) -> str:
        """Return a heading and the tables."""
        lines = [f"## {self.section} ({self.seconds:.0f} s)"]
        lines += [f"\n{kind}: {text}" for kind, text in (("skipped", self.skipped), ("failed", self.failed)) if text]
        for table in self.tables:
            lines += ["", table.title + ("" if table.rows else ": none"), ""]
            if table.rows:
                lines += ["| " + " | ".join(table.header) + " |", "|" + "---|" * len(table.header)]
            lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
        return "\n".join(lines) + "\n"


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "-" if math.isnan(value) else f"{value:#.3g}".rstrip(".")


def machine(device: torch.device) -> dict[str, str]:
    """Return the versions and the card."""
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


def measure(name: str, setting: Setting, recipe: str, options: Sequence[str]) -> Outcome:
    """Run a section; one that fails is no reason not to run the others."""
    started = time.monotonic()
    outcome = Outcome(name)
    try:
        section = importlib.import_module(f"gpu.{name}")
        outcome.tables = section.run(setting, recipe, options) if name == "train" else section.run(setting)
    except (SkippedError, ModuleNotFoundError) as error:
        outcome.skipped = str(error)
    except Exception as error:  # the next section may run all the same
        outcome.failed = f"{type(error).__name__}: {error}"
    if setting.device.type == "cuda":
        torch.cuda.empty_cache()
    outcome.seconds = time.monotonic() - started
    return outcome


def write(folder: Path, about: dict[str, str], outcomes: Sequence[Outcome]) -> None:
    """Write what there is so far."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": about, "sections": [asdict(outcome) for outcome in outcomes]}
    (folder / "cuda.json").write_text(json.dumps(content, indent=1) + "\n")
    heading = ", ".join(f"{name} {version}" for name, version in about.items())
    (folder / "cuda.md").write_text(f"{heading}\n\n" + "\n".join(outcome.markdown() for outcome in outcomes))


def main() -> int:
    """Parse the options, run the sections; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all of them")
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/gpu"))
    parser.add_argument("--dry_run", action="store_true", help="tiny sizes, on the CPU")
    parser.add_argument("--recipe", default="demo", help="recipe of the section `train`")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="after `--`: options of the training script")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        parser.error("there is no CUDA device; use --dry_run to see that everything runs.")
    warnings.filterwarnings("ignore", message=".*weight_norm.*", category=FutureWarning)  # diffusers' Oobleck
    device = torch.device("cpu" if arguments.dry_run else "cuda")
    setting = Setting(device, arguments.dry_run, arguments.output_dir)
    about = machine(device)
    print(", ".join(f"{name} {version}" for name, version in about.items()), flush=True)
    end = time.monotonic() + 60 * arguments.minutes
    outcomes: list[Outcome] = []
    for name in [name for name in SECTIONS if name in arguments.only]:
        setting.deadline = min(end, time.monotonic() + SECTIONS[name]) if SECTIONS[name] else end
        outcomes.append(measure(name, setting, arguments.recipe, arguments.options[1:]))
        print("\n" + outcomes[-1].markdown(), flush=True)
        write(arguments.output_dir, about, outcomes)
    print(f"total {sum(outcome.seconds for outcome in outcomes):.0f} s, written to {arguments.output_dir}")
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
