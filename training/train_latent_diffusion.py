"""Train latent diffusion on latents from `hf-audio-vae encode-dataset`; the result is an AudioLatentDiffusionPipeline.

accelerate launch training/train_latent_diffusion.py --config training/recipes/latent-diffusion-demo.yaml
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5EncoderModel

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.data import LatentStream, load_latent_stream, read_record
from hf_audio_vae.data.latents import class_names
from hf_audio_vae.evaluation.reports import DIFFUSION_METRICS
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models import VariationalAutoencoderMixin, load_vae
from hf_audio_vae.models.denoising import encode_prompts
from hf_audio_vae.models.fingerprint import latents_fingerprint, model_fingerprint
from hf_audio_vae.pipelines import AudioLatentDiffusionPipeline
from hf_audio_vae.pipelines.autoencoder_record import differences
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.held_out import first_crops
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
from hf_audio_vae.training.latent_diffusion.denoiser import Denoiser, new_denoiser
from hf_audio_vae.training.latent_diffusion.objective import DiffusionObjective
from hf_audio_vae.training.latent_diffusion.publishing import (
    PIPELINE_FILES,
    next_command,
    pipeline_summary,
    write_pipeline,
)
from hf_audio_vae.training.latent_diffusion.validation import denoising_metrics, generate_like, generation_metrics
from hf_audio_vae.training.learner import prepare_learner
from hf_audio_vae.training.messages import data_line, logs_line, properties_line
from hf_audio_vae.training.publishing import publish
from hf_audio_vae.training.run import Encoding
from hf_audio_vae.training.script import main_or_exit, train, training_session
from hf_audio_vae.training.tracking import log_generated

logger = get_logger(__name__)


def load_encoder(config: LatentDiffusionTrainingConfig) -> VariationalAutoencoderMixin:
    """Return the autoencoder of the latents, with their statistics."""
    vae = load_vae(config.vae_name_or_path, subfolder=config.vae_subfolder, revision=config.vae_revision)
    fingerprint = model_fingerprint(vae)
    record = read_record(config.dataset_name, config.dataset_revision)
    record.check_weights(fingerprint, config.dataset_name)
    held_out = config.validation_dataset_name
    read_record(held_out, config.validation_dataset_revision).check_weights(fingerprint, held_out)
    if not vae.has_latent_statistics:
        vae.register_to_config(latents_mean=record.latents_mean, latents_std=record.latents_std)
    return vae.eval().requires_grad_(False)


def load_text_encoder(
    config: LatentDiffusionTrainingConfig, device: torch.device
) -> tuple[T5EncoderModel | None, PreTrainedTokenizerBase | None]:
    """Return the frozen text encoder and its tokenizer, if there is text."""
    if config.text_encoder_name_or_path is None:
        return None, None
    name, revision = config.text_encoder_name_or_path, config.text_encoder_revision or "main"
    encoder = load_checked(T5EncoderModel, name, unused=r"^lm_head\.", revision=revision)
    encoder.requires_grad_(False)
    encoder.to(device)
    return encoder, AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)


def build_streams(
    config: LatentDiffusionTrainingConfig, vae: VariationalAutoencoderMixin, accelerator: Accelerator
) -> tuple[LatentStream, LatentStream]:
    """Return streams of training latents for this process and of held-out latents."""
    segment_frames = units_of("segment_seconds", config.segment_seconds, vae.frame_rate, "frame")
    longest = segment_frames / vae.frame_rate
    logger.info(f"crops have {segment_frames} frames; the pipeline generates at most {longest:g} s")
    source = load_latent_stream(config.dataset_name, split=config.dataset_split, revision=config.dataset_revision)
    held_out = load_latent_stream(
        config.validation_dataset_name,
        split=config.validation_dataset_split,
        revision=config.validation_dataset_revision,
    )
    stream = partial(
        LatentStream,
        frame_rate=vae.frame_rate,
        segment_frames=segment_frames,
        label_column=config.label_column,
        class_names=class_names(source, config.label_column, dataset_name=config.dataset_name),
        text_column=config.text_column,
        batch_size=config.train_batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        max_bad_share=config.max_bad_share,
    )
    train = stream(
        source,
        dataset_name=config.dataset_name,
        max_items=config.max_train_samples,
        shuffle_buffer_size=config.shuffle_buffer_size,
    )
    return train, stream(held_out, dataset_name=config.validation_dataset_name, shuffle_buffer_size=1)


def build_denoiser(
    config: LatentDiffusionTrainingConfig,
    vae: VariationalAutoencoderMixin,
    stream: LatentStream,
    text_width: int | None,
) -> Denoiser:
    """Return new networks, or those of a pretrained pipeline."""
    if config.pretrained_model_name_or_path is None:
        return new_denoiser(
            vae.latent_channels,
            stream.segment_frames,
            config.transformer,
            conditioner_hidden_size=config.conditioner_hidden_size,
            class_names=stream.class_names,
            text_hidden_size=text_width,
        )
    warn_of_other_latents(config, vae)
    logger.info(
        f"continuing the training of {config.pretrained_model_name_or_path}: its networks replace `transformer`"
    )
    denoiser = Denoiser.from_pretrained(
        config.pretrained_model_name_or_path,
        subfolder=config.pretrained_subfolder or "",
        revision=config.pretrained_revision,
    )
    denoiser.check_fits(vae.latent_channels, stream.class_names, text_width)
    return denoiser


def warn_of_other_latents(config: LatentDiffusionTrainingConfig, vae: VariationalAutoencoderMixin) -> None:
    """Warn if a pretrained pipeline was trained on latents of another VAE; a checkpoint does not state it."""
    name = str(config.pretrained_model_name_or_path)
    location = {"subfolder": config.pretrained_subfolder or None, "revision": config.pretrained_revision}
    try:
        recorded = AudioLatentDiffusionPipeline.load_config(name, **location).get("vae_weights")
    except OSError:
        return
    if recorded and (parts := differences(vae, recorded)):
        logger.warning(
            f"{name} was trained on latents of a VAE with other {' and '.join(parts)}: the latents mean other sounds, "
            f"which it has to learn anew"
        )


def log_start(
    config: LatentDiffusionTrainingConfig, pipeline: AudioLatentDiffusionPipeline, names: Sequence[str]
) -> None:
    """Log the model, the data and where the log of the losses goes."""
    logger.info(properties_line(type(pipeline).__name__, pipeline_summary(pipeline, config)))
    logger.info(data_line(config, read_record(config.dataset_name, config.dataset_revision), names))
    logger.info(logs_line(config))


def train_latent_diffusion(config: LatentDiffusionTrainingConfig, accelerator: Accelerator) -> None:
    """Build, train and publish the pipeline."""
    device, process = accelerator.device, config.build_process()
    vae = load_encoder(config).to(device)
    text_encoder, tokenizer = load_text_encoder(config, device)
    stream, held_out = build_streams(config, vae, accelerator)
    denoiser = build_denoiser(config, vae, stream, text_encoder.config.d_model if text_encoder else None)
    if config.gradient_checkpointing:
        denoiser.transformer.enable_gradient_checkpointing()
    ema = EMA(denoiser.to(device), config.ema_decay)
    pipeline = AudioLatentDiffusionPipeline(
        vae, ema.model.transformer, process.scheduler(), ema.model.conditioner, text_encoder, tokenizer
    )
    pipeline.set_progress_bar_config(disable=True)
    log_start(config, pipeline, stream.class_names)
    generate = partial(
        generate_like,
        pipeline,
        num_inference_steps=config.validation_inference_steps,
        guidance_scale=config.validation_guidance_scale,
    )

    learner = prepare_learner(
        accelerator, denoiser, config, learning_rate=config.learning_rate, steps=config.max_train_steps
    )
    encode = partial(encode_prompts, tokenizer, text_encoder, device=device) if tokenizer and text_encoder else None
    terms: dict[str, Any] = {"normalize": vae.normalize_latents, "encode_prompts": encode}
    objective = DiffusionObjective(learner.module, process, **terms, condition_dropout=config.condition_dropout)
    validation_batches, training_batches = ([], [])
    if accelerator.is_main_process:
        validation_batches = first_crops(held_out, config.max_validation_samples)
        training_batches = first_crops(stream, config.num_validation_sounds)

    def validate_and_log(step: int) -> dict[str, float]:
        metrics = denoising_metrics(ema.model, validation_batches, process, **terms, device=device)
        if not training_batches:
            return metrics
        latents = [generate(batch, seed) for seed, batch in enumerate(training_batches)]
        with torch.no_grad():
            waveforms = [vae.decode(vae.denormalize_latents(z[None])).sample[0].cpu() for z in latents]
        log_generated(accelerator, waveforms, vae.sampling_rate, step)
        return metrics | generation_metrics(latents, training_batches, vae.normalize_latents)

    def publish_pipeline(history: Sequence[Mapping[str, float]]) -> None:
        write = partial(write_pipeline, pipeline, config, history)
        commands = [next_command(config, stream.class_names)]
        publish(write, config, history, PIPELINE_FILES, next_commands=commands)

    train(
        accelerator,
        config,
        stream,
        {"model": learner},
        objective,
        ema,
        labels=DIFFUSION_METRICS,
        validate=validate_and_log,
        publish=publish_pipeline,
        encoding=Encoding(latents_fingerprint(vae), list(stream.class_names)),
    )


def main(argv: Sequence[str]) -> None:
    """Read the recipe and train."""
    with training_session(parse_config(LatentDiffusionTrainingConfig, argv), PIPELINE_FILES) as run:
        train_latent_diffusion(*run)


if __name__ == "__main__":
    main_or_exit(main)
