"""Faults that real data and real machines have, provoked on installed libraries.

Each row says what a library does: an error, a line that it prints, or nothing (`silent`). The libraries that are not
installed here are looked for in another interpreter. `docs/reliability.md` compares the rows with this package.

    python benchmarks/peer_faults.py                                    # all faults
    python benchmarks/peer_faults.py --only data models --quick         # some groups, without kills
    python benchmarks/peer_faults.py --python ~/peers/bin/python        # a second environment
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import packages_distributions, version
from pathlib import Path

from command_line import Parser, main_or_exit, program

HOME = tempfile.TemporaryDirectory(prefix="peer-faults-", ignore_cleanup_errors=True)
# Nothing is fetched, no progress bar counts as a message, no result of an earlier run is found in a cache, and
# processes that are forked have no threads to wait for.
os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "HF_HOME": HOME.name, "OMP_NUM_THREADS": "1"}

from faults.registry import CASES, Case, absence  # noqa: E402
from measuring import print_table  # noqa: E402

MODULES = ("data", "sound", "models", "runs", "outputs", "numbers", "security")
Row = list[str]


@dataclass(frozen=True)
class Findings:
    """What happened.

    Args:
        rows (`list[list[str]]`): Group, fault, library, what happens.
        versions (`dict[str, str]`): Libraries that were tried.
        absent (`dict[str, str]`): Libraries that cannot be imported, with the reason.
    """

    rows: list[Row]
    versions: dict[str, str]
    absent: dict[str, str]


def provoke(case: Case) -> Row:
    """Return the row of a case. The last cell starts with `NOT PROVOKED` if the benchmark itself failed."""
    folder = Path(tempfile.mkdtemp(dir=HOME.name))
    try:
        happened = case.provoke(folder)
    except Exception as error:
        happened = f"NOT PROVOKED: {type(error).__name__}: {error}"
    shutil.rmtree(folder, ignore_errors=True)
    return [case.group, case.fault, case.peer, happened]


def elsewhere(python: str, libraries: list[str], options: list[str]) -> Findings:
    """Return the findings of another interpreter."""
    command = [python, __file__, "--json", "--libraries", *libraries, *options]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return Findings(**json.loads(finished.stdout.splitlines()[-1]))


def find(cases: list[Case]) -> Findings:
    """Provoke the cases of the libraries that are installed here."""
    libraries = sorted({case.library for case in cases})
    absent = {library: absence(library) for library in libraries if absence(library)}
    rows = []
    for case in cases:
        if case.library not in absent:
            rows.append(provoke(case))
            print(*rows[-1], sep=" | ", file=sys.stderr)
    distributions = packages_distributions()
    versions = {name: version(distributions[name][0]) for name in libraries if name not in absent}
    return Findings(rows, versions, absent)


def main(argv: Sequence[str]) -> int:
    """Print the table; return 1 if a fault could not be provoked."""
    for module in MODULES:
        importlib.import_module(f"faults.{module}")
    parser = Parser(__doc__)
    parser.add_argument(
        "--python", type=program, help="interpreter to look for the libraries that are not installed here"
    )
    groups, libraries = (
        list(dict.fromkeys(names)) for names in zip(*((c.group, c.library) for c in CASES), strict=True)
    )
    parser.add_argument("--only", nargs="+", choices=groups, default=[], help="groups of faults")
    parser.add_argument("--libraries", nargs="+", choices=libraries, default=[], help="libraries by import name")
    parser.add_argument("--quick", action="store_true", help="leave out kills, hangs and memory")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args(argv)
    cases = [case for case in CASES if case.quick or not arguments.quick]
    cases = [case for case in cases if not arguments.only or case.group in arguments.only]
    cases = [case for case in cases if not arguments.libraries or case.library in arguments.libraries]
    findings = find(cases)
    if arguments.python and findings.absent:
        options = ["--quick"] * arguments.quick + ["--only", *arguments.only] * bool(arguments.only)
        more = elsewhere(arguments.python, list(findings.absent), options)
        rows = {(group, fault, peer): row for row in (*findings.rows, *more.rows) for group, fault, peer in [row[:3]]}
        ordered = [rows[key] for case in cases if (key := (case.group, case.fault, case.peer)) in rows]
        findings = Findings(ordered, findings.versions | more.versions, more.absent)
    if arguments.json:
        print(json.dumps(asdict(findings)))
    else:
        print(", ".join(f"{name} {number}" for name, number in findings.versions.items()))
        for library, reason in findings.absent.items():
            print(f"left out: {library} ({reason})")
        print_table(["", "fault", "library", "what happens"], findings.rows)
    return int(any(row[-1].startswith("NOT PROVOKED") for row in findings.rows))


if __name__ == "__main__":
    main_or_exit(main)
