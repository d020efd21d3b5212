"""Freed memory stays in the process."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from hf_audio_vae.runtime.allocator import keep_freed_memory
changed = keep_freed_memory() if sys.argv[1] == "keep" else False
torch.ones(1 << 24).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 24)  # 64 MiB, 16384 pages
print(changed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **settings: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
    printed = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return printed[0], int(printed[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_a_process_takes_no_page_faults_for_memory_that_it_had() -> None:
    changed, kept = faults("keep")
    _, plain = faults("plain")
    assert changed == "True"
    assert kept < plain / 10
    assert faults("keep", MALLOC_ARENA_MAX="4")[0] == "False"  # the user has chosen
