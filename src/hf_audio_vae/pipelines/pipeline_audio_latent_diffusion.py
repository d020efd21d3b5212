from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AudioPipelineOutput, DiffusionPipeline, SchedulerMixin, StableAudioDiTModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.files.location import DEFAULT_MODEL, is_shipped, model_location
from hf_audio_vae.files.weights import check_finite_weights
from hf_audio_vae.models import FAMILIES, AutoencoderModel, load_autoencoder
from hf_audio_vae.models.denoising import denoise, encode_prompts
from hf_audio_vae.models.inputs import check_sampling_rate, check_waveform
from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import (
    LatentConditioner,
    LatentConditionerOutput,
)
from hf_audio_vae.pipelines.arguments import count, finite, float_tensor, replaced_latents
from hf_audio_vae.pipelines.autoencoder_record import described, differences
from hf_audio_vae.pipelines.components import check_components, component_fingerprints
from hf_audio_vae.pipelines.conditions import ClassLabels, conditions_of
from hf_audio_vae.pipelines.noise_levels import NoiseLevels
from hf_audio_vae.pipelines.time_ranges import TimeRange, kept_frames, time_ranges

MAX_INFERENCE_STEPS = 10_000  # more is a mistake, and would run for days
OUTPUT_TYPES = ("pt", "np", "latent")


class AudioLatentDiffusionPipeline(DiffusionPipeline):
    """Latent diffusion for audio: unconditional, class or text to audio, audio to audio, and inpainting.

    Args:
        vae (`WaveformVAE`): Autoencoder. The denoiser works on its latents, normalized with its statistics.
        transformer (`StableAudioDiTModel`): Denoiser. It generates at most `sample_size` latent frames.
        scheduler (`SchedulerMixin`): For a rectified flow denoiser, `FlowMatchEulerDiscreteScheduler` or another flow
            matching scheduler. For a v-prediction denoiser, `DDIMScheduler`, `DPMSolverMultistepScheduler` or another
            variance-preserving scheduler with `alphas_cumprod` and `prediction_type="v_prediction"`.
        conditioner (`LatentConditioner`): Conditioner of the denoiser.
        text_encoder (`PreTrainedModel`, *optional*): Text encoder, such as `T5EncoderModel`.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): Tokenizer of the text encoder.
        vae_weights (`str`, *optional*): Data type and fingerprint of the autoencoder that the denoiser was trained
            with, and of its statistics; default: those of `vae`. It is saved with the pipeline.
        component_configs (`dict[str, str]`, *optional*): Fingerprints of the configurations of the saved denoiser,
            conditioner and text encoder. They are set and saved by `save_pretrained`.

    Raises:
        ValueError: `vae` has other weights, configuration values or statistics than `vae_weights` says.
    """

    model_cpu_offload_seq = "text_encoder->conditioner->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer"]
    _callback_tensor_inputs = ["latents"]

    def __init__(
        self,
        vae: AutoencoderModel,
        transformer: StableAudioDiTModel,
        scheduler: SchedulerMixin,
        conditioner: LatentConditioner,
        text_encoder: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        vae_weights: str | None = None,
        component_configs: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            transformer=transformer,
            scheduler=scheduler,
            conditioner=conditioner,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.register_to_config(vae_weights=vae_weights, component_configs=component_configs)
        self._known_vae: AutoencoderModel | None = None
        self._check_vae()

    def save_pretrained(self, save_directory: str | Path, *arguments: Any, **options: Any) -> None:
        """Save the pipeline like diffusers, with fingerprints of the autoencoder and of the configurations."""
        self._check_vae()
        self.register_to_config(
            vae_weights=described(self.vae) or self.config.vae_weights,
            component_configs=component_fingerprints(self.components),
        )
        super().save_pretrained(save_directory, *arguments, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Load a saved pipeline. Weights are read from safetensors files.

        Args:
            pretrained_model_name_or_path (`str` or `Path`): A folder, a Hub id, or the name of a pipeline of this
                package, whose autoencoder is the VAE of this package.
            options: Arguments of `DiffusionPipeline.from_pretrained`.

        Raises:
            ValueError, OSError: See `check_components`.
        """
        options = {"use_safetensors": True} | options
        name = model_location(str(pretrained_model_name_or_path))
        if is_shipped(name) and "vae" not in options:  # the package has it once
            options["vae"] = load_autoencoder(DEFAULT_MODEL, torch_dtype=options.get("torch_dtype"))
        check_components(cls, name, options)
        return super().from_pretrained(name, **options)

    @classmethod
    def _get_signature_types(cls) -> dict[str, tuple[type, ...]]:
        """Return the classes of components that `from_pipe` takes over: autoencoders of all families."""
        return super()._get_signature_types() | {"vae": tuple(FAMILIES.values())}

    @property
    def sampling_rate(self) -> int:
        """Sampling rate of the audio in Hz."""
        return self.vae.sampling_rate

    @property
    def max_seconds(self) -> float:
        """Maximum duration of generated audio in seconds."""
        return self.transformer.config.sample_size / self.vae.frame_rate

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        class_labels: ClassLabels | None = None,
        *,
        audio_end_in_s: float | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 4.0,
        num_waveforms_per_prompt: int = 1,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | np.ndarray | None = None,
        init_audio: Tensor | np.ndarray | None = None,
        init_audio_sampling_rate: int | None = None,
        strength: float | None = None,
        mask: TimeRange | Sequence[TimeRange] | None = None,
        output_type: str = "pt",
        return_dict: bool = True,
        callback_on_step_end: Callable[[DiffusionPipeline, int, Tensor, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> AudioPipelineOutput | tuple[Tensor | np.ndarray]:
        """Generate audio, vary it (`init_audio`), or inpaint time ranges of it (`init_audio` and `mask`).

        Args:
            prompt (`str` or `list[str]`, *optional*): Texts, for a model trained with texts. A blank one is no text.
            class_labels (`int`, `str`, or a sequence, *optional*): Classes by index or name, for a model with classes.
                A number that is the index of a class and the name of another one is refused.
            audio_end_in_s (`float`, *optional*): Seconds to generate, at most `max_seconds`. Default: duration of
                `init_audio`, or `max_seconds`. A longer `init_audio` is cut.
            num_inference_steps (`int`): Number of denoising steps, at most 10000.
            guidance_scale (`float`): Scale of classifier-free guidance (Ho & Salimans, 2022, arXiv:2207.12598). 1 is
                no guidance. It has no effect without class and text.
            num_waveforms_per_prompt (`int`): Waveforms per text or class, or per `init_audio`, or in total.
            generator (`torch.Generator` or a list, one per waveform, *optional*): Source of noise.
            latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`, *optional*): Standard normal noise to
                start from instead.
            init_audio (`torch.Tensor` or `numpy.ndarray`, *optional*): Audio to start from, of shape (audio_channels,
                time) or (batch, audio_channels, time).
            init_audio_sampling_rate (`int`, *optional*): Sampling rate of `init_audio` in Hz, to check it.
            strength (`float`, *optional*): Share of the denoising steps to apply to `init_audio`, in (0, 1]. Near 0,
                `init_audio` hardly changes. At 1, only audio outside `mask` is kept. Default: 1 with a mask, 0.7
                without.
            mask (`(float, float)` or a sequence of them, *optional*): Time ranges (start, end) of `init_audio` to
                inpaint, in seconds. The rest is kept. Time after the end of `init_audio` must be in the mask.
            output_type (`str`): `"pt"`, `"np"`, or `"latent"` for normalized latents.
            return_dict (`bool`): Return an output object rather than a tuple.
            callback_on_step_end (`Callable`, *optional*): Called as `(pipeline, step, timestep, {"latents": ...})`
                after each step. Returns a dictionary, whose `"latents"`, if any, replace the latents.
            callback_on_step_end_tensor_inputs (`Sequence[str]`): Inputs of the callback; only `"latents"` exist.

        Returns:
            `AudioPipelineOutput` with `audios`, or `(audios,)`: (batch, audio_channels, time), a `torch.Tensor` or for
            `"np"` a `numpy.ndarray`; for `"latent"` normalized latents (batch, latent_channels, frames).

        Raises:
            ValueError: An argument is out of range, the model was not trained for it, the noise schedule of the
                scheduler or the weights of the autoencoder differ from those of training, the autoencoder has no
                statistics, or the result is not finite.
        """
        self._check_vae()
        self._check_statistics()
        num_inference_steps = count("num_inference_steps", num_inference_steps, most=MAX_INFERENCE_STEPS)
        num_waveforms_per_prompt = count("num_waveforms_per_prompt", num_waveforms_per_prompt)
        guidance_scale = finite("guidance_scale", guidance_scale)
        self._check(strength, output_type, callback_on_step_end_tensor_inputs)
        if init_audio is None:
            _refuse_without_init_audio(strength=strength, init_audio_sampling_rate=init_audio_sampling_rate, mask=mask)
        prompts, labels = conditions_of(
            prompt,
            class_labels,
            names=tuple(self.conditioner.config.class_names),
            takes_text=self.conditioner.config.text_hidden_size is not None
            and self.text_encoder is not None
            and self.tokenizer is not None,
            per_prompt=num_waveforms_per_prompt,
        )
        latents, waveform = float_tensor("latents", latents), float_tensor("init_audio", init_audio)
        waveform = waveform[None] if waveform is not None and waveform.ndim == 2 else waveform
        batch = len(prompts or labels or ()) or num_waveforms_per_prompt * (1 if waveform is None else len(waveform))
        seconds = self._seconds(waveform, audio_end_in_s)
        ranges = time_ranges(mask, seconds)
        init = self._initial_latents(waveform, init_audio_sampling_rate, seconds, ranges, batch)
        frames = frame_count(round(seconds * self.sampling_rate), self.vae.hop_length)
        noise = self._noise(latents, (batch, self.vae.latent_channels, frames), generator)
        kept = kept_frames(ranges, frames, self.vae.frame_rate).to(noise.device)
        guided = guidance_scale != 1 and (prompts is not None or labels is not None)
        duration = frames / self.vae.frame_rate  # whole frames, as in training
        condition = self._embed(prompts, labels, duration, batch, copies=2 if guided else 1)

        self.scheduler.set_timesteps(num_inference_steps, device=noise.device)
        levels = NoiseLevels(self.scheduler)
        strength = (1.0 if ranges else 0.7) if strength is None else strength
        timesteps = levels.timesteps(1.0 if init is None else strength)
        latents = levels.start(init, noise, timesteps[0])
        with self.progress_bar(total=len(timesteps)) as bar:
            for step, timestep in enumerate(timesteps):
                prediction = self._predict(latents, levels, timestep, condition, guidance_scale)
                latents = levels.step(prediction, timestep, latents, generator)
                if init is not None and ranges:
                    next_timestep = timesteps[step + 1] if step + 1 < len(timesteps) else None
                    latents = torch.where(kept, levels.noisy(init, noise, next_timestep), latents)
                if callback_on_step_end is not None:
                    given = callback_on_step_end(self, step, timestep, {"latents": latents})
                    latents = replaced_latents(latents, given)
                bar.update()

        audio = self._decode(latents, round(seconds * self.sampling_rate), output_type)
        self.maybe_free_model_hooks()
        return AudioPipelineOutput(audios=audio) if return_dict else (audio,)

    def _check_vae(self) -> None:
        """Raise `ValueError` unless the autoencoder is the one that the denoiser was trained with."""
        if self.vae is None or self.vae is self._known_vae:
            return
        saved = self.config.vae_weights
        if saved is None and self._known_vae is None:
            self.register_to_config(vae_weights=described(self.vae))
        elif saved is not None and (differing := differences(self.vae, saved)):
            raise ValueError(
                f"the `vae` has other {' and '.join(differing)} than the autoencoder that the denoiser was trained "
                "with; use that one. "
                "If only its decoder was trained further, load the pipeline with its own, call "
                "`pipeline.register_to_config(vae_weights=None)`, and set `pipeline.vae`."
            )
        self._known_vae = self.vae

    def _check_statistics(self) -> None:
        """Raise `ValueError` now rather than after all steps, if the autoencoder has no statistics."""
        if not self.vae.has_latent_statistics:
            raise ValueError(
                "the `vae` has no statistics of its latents, and the denoiser works on normalized latents; set those "
                "of its training with `pipeline.vae.register_to_config(latents_mean=..., latents_std=...)`, which are "
                "in `latents.json` of its encoded data set."
            )

    def _check(self, strength: float | None, output_type: str, callback_inputs: Sequence[str]) -> None:
        if strength is not None and not 0 < finite("strength", strength) <= 1:
            raise ValueError(f"`strength` is {strength}; it must be more than 0, and at most 1.")
        if output_type not in OUTPUT_TYPES:
            raise ValueError(f"`output_type` is {output_type!r}; use one of {OUTPUT_TYPES}.")
        if unknown := set(callback_inputs) - set(self._callback_tensor_inputs):
            raise ValueError(f"the callback cannot get {sorted(unknown)}, only {self._callback_tensor_inputs}.")

    def _seconds(self, waveform: Tensor | None, audio_end_in_s: float | None) -> float:
        """Return the duration to generate."""
        longest = self.max_seconds if waveform is None else waveform.shape[-1] / self.sampling_rate
        seconds = longest if audio_end_in_s is None else finite("audio_end_in_s", audio_end_in_s)
        sample = 1 / self.sampling_rate
        if not sample <= seconds <= self.max_seconds + sample / 2:
            raise ValueError(
                f"{seconds:g} s are requested; the model generates at least one sample and at most "
                f"{self.max_seconds:g} s, the length of its training crops. Give `audio_end_in_s` in this range."
            )
        return seconds

    def _initial_latents(
        self,
        waveform: Tensor | None,
        sampling_rate: int | None,
        seconds: float,
        ranges: Sequence[TimeRange],
        batch: int,
    ) -> Tensor | None:
        """Encode and normalize the waveform to start from, padded with silence, for each waveform of the batch."""
        check_sampling_rate(sampling_rate, self.sampling_rate)
        if waveform is None:
            return None
        check_waveform(waveform, self.vae.config.audio_channels)
        if batch % len(waveform):
            raise ValueError(f"`init_audio` holds {len(waveform)} sounds for {batch}; give one, or one for each.")
        length, time = waveform.shape[-1] / self.sampling_rate, round(seconds * self.sampling_rate)
        missing = time - waveform.shape[-1]
        if missing > 0 and not any(start <= length and end + 1e-6 >= seconds for start, end in ranges):
            raise ValueError(
                f"`init_audio` has {length:g} s and {seconds:g} are requested; add the time after it to `mask`, "
                f"({length:g}, {seconds:g}), or leave out `audio_end_in_s`."
            )
        waveform = F.pad(waveform[..., :time], (0, max(missing, 0)))
        posterior = self.vae.encode(waveform.to(self._execution_device, self.vae.dtype)).latent_dist
        latents = self.vae.normalize_latents(posterior.mode()).to(self.transformer.dtype)
        return latents.repeat_interleave(batch // len(latents), dim=0)

    def _noise(
        self,
        latents: Tensor | None,
        shape: tuple[int, int, int],
        generator: torch.Generator | list[torch.Generator] | None,
    ) -> Tensor:
        device, dtype = self._execution_device, self.transformer.dtype
        if isinstance(generator, list) and len(generator) != shape[0]:
            raise ValueError(
                f"there are {len(generator)} generators for {shape[0]} sounds; give one, or one for each."
            )
        if latents is None:
            return randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        if latents.shape != shape:
            raise ValueError(f"`latents` has shape {tuple(latents.shape)}; noise for these sounds has {shape}.")
        return latents.to(device, dtype)

    def _embed(
        self, prompts: list[str] | None, labels: list[int] | None, seconds: float, batch: int, *, copies: int
    ) -> LatentConditionerOutput:
        """Embed the conditions of each waveform; with two copies, the first has no class and text, for guidance."""
        device = self._execution_device
        text, text_mask = None, None
        if prompts is not None:
            text, text_mask = encode_prompts(self.tokenizer, self.text_encoder, prompts, device)
            text, text_mask = text.repeat(copies, 1, 1), text_mask.repeat(copies, 1)
        return self.conditioner(
            torch.full((copies * batch,), seconds, device=device),
            class_labels=None if labels is None else torch.tensor(copies * labels, device=device),
            text_hidden_states=text,
            text_attention_mask=text_mask,
            dropped=torch.arange(copies * batch, device=device) < (copies - 1) * batch,
        )

    def _predict(
        self,
        latents: Tensor,
        levels: NoiseLevels,
        timestep: Tensor,
        condition: LatentConditionerOutput,
        guidance_scale: float,
    ) -> Tensor:
        """Run the denoiser; with guidance, on both copies at once."""
        copies = len(condition["global_hidden_states"]) // len(latents)
        scaled = self.scheduler.scale_model_input(latents, timestep) if levels.scales_input else latents
        time = levels.time(timestep).to(latents).expand(copies * len(latents))
        prediction = denoise(self.transformer, scaled.repeat(copies, 1, 1), time, condition)
        if copies == 1:
            return prediction
        unconditional, conditional = prediction.chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    def _decode(self, latents: Tensor, time: int, output_type: str) -> Tensor | np.ndarray:
        self._check_finite(latents)  # before the vae, whose error would name its input
        if output_type != "latent":
            latents = self.vae.denormalize_latents(latents.to(self.vae.dtype))
            latents = self.vae.decode(latents).sample[..., :time]
        self._check_finite(latents)
        return latents.float().cpu().numpy() if output_type == "np" else latents

    def _check_finite(self, result: Tensor) -> None:
        """Raise `ValueError` for a result that is not finite; it names the weight that is not, if there is one."""
        if bool(result.isfinite().all()):
            return
        for name, component in self.components.items():
            if isinstance(component, torch.nn.Module):
                check_finite_weights(f"the `{name}`", component)
        raise ValueError("the result is NaN or infinite; use the pipeline in float32, or other weights.")


def _refuse_without_init_audio(**arguments: object) -> None:
    if given := [f"`{name}`" for name, value in arguments.items() if value is not None]:
        raise ValueError(f"{', '.join(given)} is given without `init_audio` and has no effect; leave it out.")
