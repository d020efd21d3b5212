"""Checks of one model, and of sounds for it."""

from hf_audio_vae.comparison.doctor.findings import Finding, exit_code, page
from hf_audio_vae.comparison.doctor.model_checks import (
    check_pairing,
    check_prior,
    check_statistics,
    check_weights,
    described,
)
from hf_audio_vae.comparison.doctor.sound_checks import SoundChecks

__all__ = [
    "Finding",
    "SoundChecks",
    "check_pairing",
    "check_prior",
    "check_statistics",
    "check_weights",
    "described",
    "exit_code",
    "page",
]
