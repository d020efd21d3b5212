"""Plant each fault of the list in a copy of the project and run the tests that mirror it: `make mutants`.

The share of faults that the tests find ("kill") is printed by package. The exit code is 1 if it is below 90 %, and 2
if a fault cannot be planted or its tests fail without it.
"""

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.fault import PACKAGE, ROOT, Fault
from tests.mutants.faults import FAULTS

REQUIRED_SHARE = 0.9
SECONDS = 120  # of a run with a fault; a hang counts as found
BASELINE_SECONDS = 600
PASSED, FAILED, TIMED_OUT = 0, 1, -1  # other exit codes of pytest: nothing could be collected
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"]


@dataclass
class Trial:
    """A run of some tests, with a fault or, to see that they pass, without."""

    tests: tuple[str, ...]
    fault: Fault | None = None
    code: int | None = None
    seconds: float = 0.0
    output: str = ""


@dataclass
class Copy:
    """A copy of the project in which one trial runs at a time."""

    folder: Path
    trial: Trial | None = None
    process: int = 0
    started: float = 0.0
    source: str = ""  # of the file with the fault

    def start(self, trial: Trial) -> None:
        """Plant the fault and fork a process that runs the tests."""
        if trial.fault:
            path = self.folder / PACKAGE / trial.fault.path
            self.source = path.read_text()
            path.write_text(trial.fault.planted(self.source))
        self.trial, self.started = trial, time.monotonic()
        self.process = os.fork()
        if not self.process:
            run_tests(self.folder, trial.tests)

    def poll(self) -> bool:
        """Whether the trial has ended; stops it after its time."""
        if self.trial is None:
            return False
        self.trial.seconds = time.monotonic() - self.started
        process, status = os.waitpid(self.process, os.WNOHANG)
        if not process and self.trial.seconds < (SECONDS if self.trial.fault else BASELINE_SECONDS):
            return False
        self.trial.code = os.waitstatus_to_exitcode(status) if process else TIMED_OUT
        self.trial.output = (self.folder / "output.txt").read_text(errors="replace")
        if self.trial.fault:
            (self.folder / PACKAGE / self.trial.fault.path).write_text(self.source)
        self.stop()
        return True

    def stop(self) -> None:
        """Kill the tests, and the processes that they have started."""
        if self.trial is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.process, 0)
        self.trial = None


def run_tests(folder: Path, tests: Sequence[str]) -> None:
    """Run tests in a copy and end this process with pytest's exit code."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.environ["PYTHONPATH"] = str(folder / "src")  # of processes that the tests start
    sys.path[:0] = [str(folder / "src"), str(folder)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    code = 3  # pytest's for its own errors
    try:
        import pytest

        code = int(
            pytest.main([*PYTEST, "--basetemp", str(folder / "temporary"), *(f"tests/{name}" for name in tests)])
        )
        sys.stdout.flush()
    finally:
        os._exit(code)


@contextmanager
def copies(count: int) -> Iterator[list[Copy]]:
    """Copy all files that git does not ignore, with bytecode that is checked against the text of its source."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
    with tempfile.TemporaryDirectory(prefix="mutants-") as parent:
        folders = [Path(parent) / str(number) for number in range(count)]
        for folder in folders:
            for name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
            compiling = ["compileall", "-q", "--invalidation-mode", "checked-hash", str(folder / "src")]
            subprocess.run([sys.executable, "-m", *compiling], check=True)
        pool = [Copy(folder) for folder in folders]
        try:
            yield pool
        finally:
            for copy in pool:
                copy.stop()


def import_libraries() -> None:
    """Import the libraries, but not the package, so that a forked process starts at once."""
    listing = """
import pkgutil, sys, hf_audio_vae, pytest
for module in pkgutil.walk_packages(hf_audio_vae.__path__, "hf_audio_vae."):
    if "triton" not in module.name:
        __import__(module.name)
print(*sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run(
        [sys.executable, "-c", listing], env=environment, capture_output=True, text=True, check=True
    )
    for name in found.stdout.split():
        if name.partition(".")[0] not in ("hf_audio_vae", "__main__", "__mp_main__"):
            with suppress(ImportError):
                importlib.import_module(name)


def run_all(trials: Sequence[Trial], pool: Sequence[Copy]) -> Iterator[Trial]:
    """Run the trials, one per copy at a time; yield each when it has ended."""
    waiting = list(trials)
    while waiting or any(copy.trial for copy in pool):
        for copy in pool:
            trial = copy.trial
            if trial is None and waiting:
                copy.start(waiting.pop(0))
            elif trial is not None and copy.poll():
                yield trial
        time.sleep(0.02)


def report(trials: Sequence[Trial]) -> float:
    """Print the table and the survivors; return the share of faults that were found."""
    by_package: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_package[trial.fault.package].append(trial)
    rows = [*sorted(by_package.items()), ("all", list(trials))]
    print("\n| package | faults | found | share |\n|---|---:|---:|---:|")
    for package, tried in rows:
        found = sum(trial.code != PASSED for trial in tried)
        print(f"| {package} | {len(tried)} | {found} | {found / len(tried):.0%} |")
    for trial in trials:
        if trial.code == PASSED:
            print(f"\nnot found: {trial.fault}")
    return sum(trial.code != PASSED for trial in trials) / len(trials)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the faults and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="starts of paths, such as losses or cli/encode.py")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args(argv)
    faults = [fault for fault in FAULTS if fault.path.startswith(tuple(arguments.only))]
    if stale := [problem for fault in faults if (problem := fault.problem())]:
        print(*stale, sep="\n")
        return 2
    os.environ.update(ENVIRONMENT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # runs the cleanup
    started = time.monotonic()
    import_libraries()
    tests: dict[str, list[str]] = defaultdict(list)
    for fault in faults:
        tests[fault.package] += [test for test in fault.tests if test not in tests[fault.package]]
    with copies(arguments.workers) as pool:
        for trial in run_all([Trial(tuple(names)) for names in tests.values()], pool):
            if trial.code != PASSED:
                print(f"{trial.output}\nthese tests fail without a fault, or take too long")
                return 2
        print(f"the tests pass without a fault; {time.monotonic() - started:.0f} s", flush=True)
        ended: list[Trial] = []
        for trial in run_all([Trial(fault.tests, fault) for fault in faults], pool):
            ended.append(trial)
            result = {PASSED: "NOT FOUND", FAILED: "found", TIMED_OUT: "found (hangs)"}.get(trial.code)
            print(
                f"{len(ended)}/{len(faults)} {trial.fault.path}: {result or 'ERROR'}, {trial.seconds:.0f} s",
                flush=True,
            )
            if result is None:
                print(f"{trial.output}\n{trial.fault}\nno test ran; plant a fault that can be imported")
                return 2
    share = report(ended)
    print(f"\n{share:.1%} of {len(faults)} faults found in {(time.monotonic() - started) / 60:.1f} min")
    return 0 if share >= REQUIRED_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
