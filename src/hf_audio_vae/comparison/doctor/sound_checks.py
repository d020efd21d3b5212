"""Checks of sounds that a model is going to code, and of their latents or codes."""

from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import convert_channels, resample
from hf_audio_vae.comparison.doctor.findings import Finding
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.latents import ChannelMoments, LatentPrior
from hf_audio_vae.models import AutoencoderModel

FULL_SCALE, CLIPPED_SHARE = 0.999, 1e-4
SILENCE = 1e-3  # -60 dB relative to full scale
BLOCK_SECONDS = 0.05
CANCELLED = 0.1  # of the level of the channels, in their mean
OUTSIDE, INSIDE = 99.0, 1.0  # percentiles of held-out clips
LEAST_HELD_OUT = 20  # clips; the percentiles of fewer are too coarse
FEW_SECONDS = 60.0  # of sound, which are no reason for a warning about all latents
SCALES = (0.25, 4.0)  # of latents that their statistics fit
MIN_ACTIVE_SHARE = 0.5


class SoundChecks:
    """Checks sounds one by one, and their latents or codes together.

    Args:
        model (`AutoencoderModel`): Model in evaluation mode.
        prior (`LatentPrior`, *optional*): Measured latents of the model.
    """

    def __init__(self, model: AutoencoderModel, prior: LatentPrior | None) -> None:
        self._model, self._prior = model, prior
        self._health, self._moments = health_of(model), ChannelMoments()
        self._seconds = 0.0

    @torch.no_grad()
    def add(self, name: str, waveform: Tensor, sampling_rate: int) -> list[Finding]:
        """Check a sound.

        Args:
            name (`str`): Name in the findings.
            waveform (`torch.Tensor` of shape `(audio_channels, time)`): The sound, before any conversion.
            sampling_rate (`int`): Its rate in Hz.
        """
        model: Any = self._model
        findings = signal_findings(name, waveform, sampling_rate)
        findings.append(self._conversions(name, waveform, sampling_rate))
        mixed = convert_channels(waveform, model.config.audio_channels)
        if _rms(mixed) < CANCELLED * _rms(waveform):
            text = "its channels cancel each other when mixed; use one of them"
            findings.append(Finding("warning", name, text))
        clip = resample(mixed, sampling_rate, model.sampling_rate)
        try:
            output = model.encode(clip[None].to(model.device))
            self._health.add(output)
        except ValueError as error:
            return [*findings, Finding("error", name, f"the model cannot encode it: {error}")]
        self._seconds += clip.shape[-1] / model.sampling_rate
        if not model.codebook_sizes:
            posterior = output.latent_dist
            self._moments.add(posterior.mean[0], posterior.std[0])
            findings += self._distance(name, posterior.mean[0])
        return findings

    def together(self) -> list[Finding]:
        """Return findings on the latents or codes of all sounds so far."""
        if not self._seconds:
            return []
        few = self._seconds < FEW_SECONDS
        hint = f" (a hint: {self._seconds:.0f} s of sound are few)" if few else ""
        warning = self._health.warning(MIN_ACTIVE_SHARE)
        subject = self._health.name
        if warning:
            findings = [Finding("ok" if few else "warning", subject, warning + hint)]
        else:
            findings = [Finding("ok", subject, f"{_usage(self._health.summary())}{hint}")]
        return findings + self._scale()

    def _conversions(self, name: str, waveform: Tensor, rate: int) -> Finding:
        channels, own, target = len(waveform), self._model.config.audio_channels, self._model.sampling_rate
        parts = []
        if channels != own:
            parts.append(f"{channels} channels -> {own} ({'mean' if own == 1 else 'copied to each'})")
        if rate > target:
            parts.append(f"{rate} Hz -> {target} Hz, nothing above {target / 2000:g} kHz is kept")
        elif rate < target:
            parts.append(f"{rate} Hz -> {target} Hz, there is nothing above {rate / 2000:g} kHz")
        return Finding("ok", name, "; ".join(parts) or "needs no conversion")

    def _distance(self, name: str, mean: Tensor) -> list[Finding]:
        if self._prior is None:
            return []
        distance = self._prior.distance(mean)
        percentile = self._prior.percentile(distance)
        data = self._prior.info.dataset_name
        held_out = self._prior.info.held_out_items
        if percentile is None or held_out < LEAST_HELD_OUT:
            text = f"distance {distance:.2f} from the latents of {data}; {held_out} held-out clips are no scale for it"
            return [Finding("ok", name, text)]
        text = f"distance {distance:.2f} from the latents of {data}, percentile {percentile:.1f} of held-out clips"
        if percentile > OUTSIDE:
            remedy = "louder, denser or of another kind; listen to a reconstruction, or fine-tune on such sound"
            return [Finding("warning", name, f"{text}: {remedy}")]
        if percentile < INSIDE:
            return [Finding("warning", name, f"{text}: quieter or sparser; raise the level if it is low")]
        return [Finding("ok", name, text)]

    def _scale(self) -> list[Finding]:
        """Compare the latents of all sounds with the statistics in the config."""
        model: Any = self._model
        if model.codebook_sizes or not model.has_latent_statistics:
            return []
        mean, std = (torch.tensor(getattr(model.config, key)).double() for key in ("latents_mean", "latents_std"))
        offsets = (self._moments.mean - mean).square() + self._moments.std.square()
        scale = float((offsets / std.square()).mean().sqrt())
        text = f"latents have {scale:.2f} times the deviation that the statistics say"
        if SCALES[0] <= scale <= SCALES[1]:
            return [Finding("ok", "scale", text)]
        return [Finding("warning", "scale", f"{text}; measure them again with `hf-audio-vae statistics --overwrite`")]


def signal_findings(name: str, waveform: Tensor, sampling_rate: int) -> list[Finding]:
    """Report clipping, levels beyond full scale, and silence.

    Args:
        name (`str`): Name in the findings.
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): The sound.
        sampling_rate (`int`): Its rate in Hz.
    """
    findings = []
    magnitude = waveform.abs()
    peak, share = float(magnitude.max()), float((magnitude >= FULL_SCALE).float().mean())
    if share > CLIPPED_SHARE:
        text = f"{100 * share:.2f} % of its samples are at full scale or beyond: it is clipped; record it softer"
        findings.append(Finding("warning", name, text))
    elif peak > 1:
        findings.append(Finding("warning", name, f"its peak is {peak:.2f}, beyond full scale; scale it below 1"))
    block = min(max(1, round(BLOCK_SECONDS * sampling_rate)), waveform.shape[1])
    loudest = magnitude.amax(dim=0).unfold(0, block, block).amax(dim=1)  # (blocks,)
    silent = float((loudest < SILENCE).float().mean())
    if silent == 1:
        findings.append(Finding("warning", name, "it is silent, at most -60 dB; its latents say nothing of the model"))
    elif silent > 0.5:
        findings.append(Finding("warning", name, f"{100 * silent:.0f} % of it is silent; cut the silence"))
    return findings


def _usage(summary: dict[str, float]) -> str:
    """What the summary of a `Health` says about channels or codes."""
    if "active_units" in summary:
        count = round(summary["active_units"] / max(summary["active_share"], 1e-9))
        return f"{summary['active_units']:.0f} of {count} channels are active"
    return f"lowest usage of a codebook {summary['lowest_usage']:.2f}, {summary['dead_codes']:.0f} codes never used"


def _rms(waveform: Tensor) -> float:
    return float(waveform.square().mean().sqrt())
