"""Every block of `docs/your_folder.md` runs, in its order, in runs that are cut short."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", (REPO / "docs/your_folder.md").read_text(), flags=re.DOTALL)
SHORT = "--max_train_steps 2 --max_validation_samples 1 --train_batch_size 2 --dataloader_num_workers 0"
SHORTENED = {
    "train ": f"{SHORT} --validation_seconds 0.5",
    "train-diffusion ": f"{SHORT} --num_validation_sounds 1 --validation_inference_steps 2",
}
KINDS = {"speech": "speech", "music": "music", "flute": "notes"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a user: three clips of each kind to train on, one of each held out."""
    root = tmp_path_factory.mktemp("user")
    for prefix, kind in KINDS.items():
        for source, target in (("train", "my_sounds"), ("held_out", "my_held_out_sounds")):
            (root / target / kind).mkdir(parents=True, exist_ok=True)
            for path in sorted((REPO / "data" / source).glob(f"{prefix}*"))[:3]:
                shutil.copy(path, root / target / kind)
    return root


def test_blocks_run_in_order(folder: Path) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    for kind, block in BLOCKS:
        commands = [[sys.executable, "-c", block]] if kind == "python" else []
        for line in block.splitlines() if kind == "bash" else ():
            options = [text for verb, text in SHORTENED.items() if line.startswith(f"hf-audio-vae {verb}")]
            commands += [] if line.startswith("pip install") else [["bash", "-c", " ".join([line, *options])]]
        for command in commands:
            ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
            assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    sounds = sorted(path.suffix for path in (folder / "generated").iterdir())
    assert sounds.count(".wav") == 2
    assert len(list(folder.glob("opus_*.wav"))) == 4
    for name in ("before", "after"):
        assert len(list((folder / name).rglob("*.reconstruction.wav"))) == len(
            list((folder / "my_sounds").rglob("*.*"))
        )
