"""Speed and memory of models, measured one after another on the same clip."""

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import convert_channels, resample
from hf_audio_vae.comparison.systems import System

REPEATS = 3
MOST_SECONDS = 60.0  # after which nothing is repeated


def speeds(systems: Sequence[System], clip: Tensor, sampling_rate: int) -> dict[str, dict[str, float]]:
    """Measure how fast models encode and decode a clip.

    The models take turns, so that a slow phase of the machine affects all of them. Memory is the growth of the peak
    memory of the process while the clip is coded, or of the peak of its allocations on a GPU.

    Args:
        systems (`Sequence[System]`): Systems. Anchors are left out.
        clip (`torch.Tensor` of shape `(audio_channels, time)`): Clip.
        sampling_rate (`int`): Rate of the clip in Hz.

    Returns:
        `dict`: By system: `"real_time_factor"`, the median of three runs, and `"peak_memory_mb"` if it is known.
    """
    models = [(system, system.device) for system in systems if system.device is not None]
    seconds: dict[str, list[float]] = {system.name: [] for system, _ in models}
    memory: dict[str, float] = {}
    started = time.perf_counter()
    for repeat in range(REPEATS):
        for system, device in models:
            rate = system.rate_for(sampling_rate)
            own = resample(convert_channels(clip, system.audio_channels or len(clip)), sampling_rate, rate)
            before = _reset_peak(device)
            begun = time.perf_counter()
            system.code_at_own_rate(own, rate)
            seconds[system.name].append(time.perf_counter() - begun)
            if before is not None and not repeat:
                memory[system.name] = (_peak(device) - before) / 2**20
        if time.perf_counter() - started > MOST_SECONDS:
            break
    length = clip.shape[-1] / sampling_rate
    return {
        name: {"real_time_factor": length / median(found)}
        | ({"peak_memory_mb": memory[name]} if name in memory else {})
        for name, found in seconds.items()
    }


def _reset_peak(device: torch.device) -> float | None:
    """Reset the peak of memory. Return the bytes in use, or `None` if the system does not report them."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return float(torch.cuda.memory_allocated(device))
    try:
        ctypes.CDLL(None).malloc_trim(0)  # the memory of earlier tensors is free, but still the process's
        Path("/proc/self/clear_refs").write_text("5")  # the peak of resident memory becomes the present value
        return _status("VmRSS")
    except (OSError, AttributeError):  # no Linux, or another C library than glibc
        return None


def _peak(device: torch.device) -> float:
    return float(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    """Return a value of `/proc/self/status` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(name)).split()[1])
