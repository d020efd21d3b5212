"""Kill runs of a script at random moments. Runs are forked, because importing torch takes longer than a run.

python tests/training/kills.py SCRIPT STRAIGHT KILLED KILLS [OPTION ...]

runs the script once into the folder STRAIGHT, then again and again into KILLED, until KILLS runs were killed and one
reached its end. Whenever a run ends before enough were killed, its folder is moved to KILLED-1, KILLED-2, ...
"""

import importlib.util
import os
import random
import signal
import sys
import time
from pathlib import Path

from hf_audio_vae.training.script import main_or_exit


def child(module, argv: list[str]) -> int:
    """Start a run in its own process group; return its id."""
    if pid := os.fork():
        return pid
    os.setpgid(0, 0)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    code = 1
    try:
        main_or_exit(module.main, argv)
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    finally:
        os._exit(code)


def main(script: str, straight: str, killed: str, kills: int, options: list[str]) -> None:
    spec = importlib.util.spec_from_file_location("script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    started = time.monotonic()
    assert os.waitpid(child(module, [*options, "--output_dir", straight]), 0)[1] == 0
    duration = time.monotonic() - started
    chance, done, finished = random.Random(0), 0, 0
    while done < kills or not Path(killed, "metrics.json").exists():
        pid = child(module, [*options, "--output_dir", killed, "--resume_from_checkpoint", "latest"])
        deadline = time.monotonic() + (chance.uniform(0, 0.8 * duration) if done < kills else 100)
        status = None
        while status is None and time.monotonic() < deadline:
            ended, code = os.waitpid(pid, os.WNOHANG)
            status = code if ended else None
            time.sleep(0.001)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            done += 1
            partial = [path.name for path in Path(killed).glob(".*")]
            print(f"kill {done} at {sorted(p.name for p in Path(killed).glob('checkpoint-*'))}, left {partial}")
            continue
        assert status == 0, f"a run that was to resume ended with {os.waitstatus_to_exitcode(status)}"
        if done < kills:
            finished += 1
            os.rename(killed, f"{killed}-{finished}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
