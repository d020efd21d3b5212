"""Amounts of training and of sound, equal for all models that are compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Amounts of training and of sound.

    Attributes:
        steps (`int`): Training steps of the denoiser.
        batch (`int`): Crops per step.
        crop_seconds (`float`): Length of a crop.
        training_seconds (`float`): Maximum length of all training sound; its latents are kept in memory.
        held_out_seconds (`float`): Maximum length of all held-out sound, and of all generated sound.
        piece_seconds (`float`): Maximum length of a held-out sound; longer clips are cut into pieces.
        sampler_steps (`int`): Euler steps of the sampler.
    """

    steps: int = 500
    batch: int = 8
    crop_seconds: float = 1.0
    training_seconds: float = 7200.0
    held_out_seconds: float = 200.0
    piece_seconds: float = 4.0
    sampler_steps: int = 25
