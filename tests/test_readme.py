"""Every block of the README and of the tour runs, in this order, on a demo that is cut short."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]  # all blocks are one test, since they follow each other
REPO = Path(__file__).parents[1]
TEXT = "".join((REPO / page).read_text() for page in ("README.md", "docs/tour.md"))
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", TEXT, flags=re.DOTALL)
SHORT = "--max_train_steps 2 --max_validation_samples 1 --train_batch_size 1"
SHORT_DEMO = f"{SHORT} --validation_seconds 0.5"
SHORT_PRIOR = f"{SHORT} --segment_seconds 0.05"
SHORT_GENERATOR = f"{SHORT} --num_validation_sounds 1 --validation_inference_steps 2"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the README's paths mean something else than the developer's files."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("Makefile", "constraints.txt", "data", "setup.cfg", "setup.py", "training"):
        source = REPO / name
        shutil.copytree(source, folder / name) if source.is_dir() else shutil.copy(source, folder / name)
    return folder


def shortened(line: str) -> str:
    """The same command with less to do; nothing else about it changes."""
    if line.startswith("make test"):
        return line.replace("make", "make -n", 1)  # this is the test
    if line.startswith(("make demo", "make generate", "make tokens")):
        # The environment is the one that runs the tests.
        make = f"make -o env -o {sys.prefix}/.installed {line.split()[1]} VENV={sys.prefix}"
        options = {"DEMO": SHORT_DEMO, "GENERATOR": SHORT_GENERATOR, "CODEC": SHORT_DEMO, "PRIOR": SHORT_PRIOR}
        return " ".join([make, *(f'{name}_OPTIONS="{value}"' for name, value in options.items())])
    if line.startswith(("accelerate launch", "ACCELERATE_USE_CPU", "hf-audio-vae train ")):
        stages = "--adversarial.start_step 1 " if "oobleck-small" in line else ""  # within the two steps
        return f"{line} {stages}{SHORT_DEMO} --mixed_precision no --dataloader_num_workers 0"
    return line


def test_blocks_run_in_order(checkout: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    assert {kind for kind, _ in BLOCKS} == {"bash", "python"}
    for kind, block in BLOCKS:
        if kind == "python":
            commands = [[sys.executable, "-c", block]]
        else:
            lines = block.replace("\\\n", " ").splitlines()
            commands = [["bash", "-c", shortened(line)] for line in lines]
        for command in commands:
            finished = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
            assert finished.returncode == 0, f"{command[-1]}\n{finished.stdout}\n{finished.stderr}"
    assert (checkout / "outputs/demo/reconstructions/music_musicbox.png").exists()
    assert (checkout / "outputs/decoded/music_musicbox.wav").exists()
    assert (checkout / "outputs/generator/generated/00-effect.wav").exists()
    assert (checkout / "outputs/prior/generated/00-generated.wav").exists()
    assert (checkout / "outputs/finer/config.json").exists()
