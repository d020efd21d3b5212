"""What adapters save, a process without this package loads and decodes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.peers.test_peers import frames_of, peer, waveform
from tests.models.peers.tiny import TINY

DECODED = sorted(name for name, tiny in TINY.items() if not tiny.needs)
# Latents of these have frames before channels.
FRAMES_FIRST = {"PocketTTSAudioTokenizerModel", "VibeVoiceAcousticTokenizerModel"}


@pytest.mark.slow
@torch.no_grad()
def test_the_original_classes_decode_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    expected = {}
    for name in DECODED:
        model = peer(name)
        for parameter in model.decoder.parameters():
            parameter.mul_(1.02)
        frames = frames_of(model, waveform(model, 12 * model.hop_length))
        expected[name] = model.decode(frames)[0]
        model.save_pretrained(tmp_path / name)
        given = frames.mT if name in FRAMES_FIRST else frames
        save_file({"frames": given.contiguous()}, tmp_path / name / "given.safetensors")
    script = Path(__file__).with_name("fresh_process.py")
    finished = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for name, audio in expected.items():
        decoded = load_file(tmp_path / name / "decoded.safetensors")["decoded"]
        torch.testing.assert_close(decoded, audio, rtol=0, atol=1e-5 * float(audio.abs().max()), msg=name)
