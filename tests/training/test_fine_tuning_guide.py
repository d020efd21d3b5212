"""Every block of the guide to fine-tuning runs, in its order, on tiny models with the published names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderOobleck
from transformers import MimiModel

from tests.models.peers.tiny import TINY
from tests.models.test_published_formats import original
from tests.training.runs import REPO

BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", (REPO / "docs/fine_tuning.md").read_text(), flags=re.DOTALL)
SHORT = (
    "--max_train_steps 3 --train_batch_size 2 --segment_seconds 0.25 --max_validation_samples 1 "
    "--validation_seconds 0.3 --dataloader_num_workers 0 --lr_warmup_steps 0"
)
OTHERS = {
    "finetune-decoder": "--adversarial.warmup_discriminator_steps 1 "
    "--adversarial.discriminators.multi_period.hidden_channels 2 "
    "--adversarial.discriminators.multi_scale_stft.hidden_channels 4",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("data", "training"):
        shutil.copytree(REPO / name, folder / name)
    original("AutoencoderOobleck").save_pretrained(folder / "stabilityai/stable-audio-open-1.0/vae")
    TINY["MimiModel"].new().save_pretrained(folder / "kyutai/mimi")
    return folder


@pytest.mark.slow
def test_blocks_run_in_order_and_publish_the_original_classes(checkout: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    assert [kind for kind, _ in BLOCKS] == ["bash"] * 5 + ["python"]
    for kind, block in BLOCKS:
        line = block.strip()
        command = [sys.executable, "-c", block]
        if line.startswith("hf-audio-vae "):
            command = [sys.executable, "-m", "hf_audio_vae.cli.main", *line.split()[1:]]
        elif kind == "bash":
            assert line.startswith("accelerate launch ")
            options = f"{SHORT} {OTHERS.get(Path(line.split()[4]).stem, '')}"
            command = [sys.executable, *line.removeprefix("accelerate launch ").split(), *options.split()]
        finished = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
        assert finished.returncode == 0, f"{line}\n{finished.stdout}\n{finished.stderr}"
    before, after = (
        AutoencoderOobleck.from_pretrained(checkout / name)
        for name in ("stabilityai/stable-audio-open-1.0/vae", "outputs/tuned-decoder")
    )
    theirs, ours = before.encoder.state_dict(), after.encoder.state_dict()
    assert all(torch.equal(theirs[key], ours[key]) for key in theirs)
    MimiModel.from_pretrained(checkout / "outputs/tuned-codec")
    merged = AutoencoderOobleck.from_pretrained(checkout / "outputs/merged")
    assert not torch.equal(merged.decoder.conv1.weight_v, before.decoder.conv1.weight_v)
    assert torch.equal(merged.decoder.conv1.bias, before.decoder.conv1.bias)
