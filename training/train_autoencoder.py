"""Train or fine-tune an audio autoencoder.

accelerate launch training/train_autoencoder.py --config training/recipes/stft-vae-demo.yaml --output_dir outputs/mine
"""

from collections.abc import Mapping, Sequence
from functools import partial

from accelerate import Accelerator
from accelerate.logging import get_logger

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.data import CropStream, clip_starts, load_audio_stream, split_held_out, spread_sample
from hf_audio_vae.models import AutoencoderModel, load_autoencoder, new_autoencoder, with_training_arguments
from hf_audio_vae.training.autoencoder.adapting import ModelEMA, adapt
from hf_audio_vae.training.autoencoder.compiling import compile_networks
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.kept_latents import KeptLatents
from hf_audio_vae.training.autoencoder.messages import (
    best_folder,
    model_line,
    next_commands,
    remarks,
    validation_lines,
)
from hf_audio_vae.training.autoencoder.objective import Adversary, AutoencoderObjective
from hf_audio_vae.training.autoencoder.publishing import MODEL_FILES, write_model
from hf_audio_vae.training.autoencoder.tracking import log_health, log_reconstructions
from hf_audio_vae.training.autoencoder.validation import Clip, measured_linearity, metric_labels, validate
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.learner import prepare_learner
from hf_audio_vae.training.messages import logs_line
from hf_audio_vae.training.publishing import publish
from hf_audio_vae.training.script import main_or_exit, train, training_session

logger = get_logger(__name__)


def build_model(config: AutoencoderTrainingConfig) -> AutoencoderModel:
    """Return a new model of the recipe's family, or a pretrained one."""
    if config.pretrained_model_name_or_path:
        name = config.pretrained_model_name_or_path
        model = load_autoencoder(name, subfolder=config.pretrained_subfolder, revision=config.pretrained_revision)
        logger.info(f"fine-tuning {name}")
        if model.published_format is not None and not model.published_format.expresses(model):
            logger.warning(
                f"the result is a {type(model).__name__}, which {model.published_class.__name__} cannot express"
            )
            model.published_format = None
        if config.pretrained_arguments:
            model = with_training_arguments(model, config.pretrained_arguments)
        if config.decoder_only_from_step != 0:  # the latents will change
            model.reset_statistics()
        return model
    return new_autoencoder(config.family, config.model)


def build_stream(config: AutoencoderTrainingConfig, model: AutoencoderModel, accelerator: Accelerator) -> CropStream:
    """Return endless batches of random crops for this process."""
    crop_length = units_of("segment_seconds", config.segment_seconds, model.sampling_rate)
    source = load_audio_stream(
        config.dataset_name,
        config_name=config.dataset_config_name,
        split=config.dataset_split,
        data_files=config.data_files,
        audio_column=config.audio_column,
        revision=config.dataset_revision,
        announce=logger.info if accelerator.is_main_process else None,
    )
    if config.held_out_share is not None:
        source, _ = split_held_out(source, config.held_out_share, config.dataset_name)
    return CropStream(
        source,
        sampling_rate=model.sampling_rate,
        audio_channels=model.config.audio_channels,
        crop_length=crop_length,
        batch_size=config.train_batch_size,
        seed=config.seed,
        shuffle_buffer_size=config.shuffle_buffer_size,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        max_items=config.max_train_samples,
        max_bad_share=config.max_bad_share,
    )


def load_clips(config: AutoencoderTrainingConfig, model: AutoencoderModel) -> list[Clip]:
    """Return the validation clips; an item that cannot be read is an error, since figures would not be comparable."""
    stream = load_audio_stream(
        config.validation_dataset_name,
        config_name=config.validation_dataset_config_name,
        split=config.validation_dataset_split,
        data_files=config.validation_data_files,
        audio_column=config.validation_audio_column,
        revision=config.validation_dataset_revision,
        announce=logger.info if config.held_out_share is None else None,  # the training data is announced
        option_prefix="validation_",
    )
    if config.held_out_share is not None:
        _, stream = split_held_out(stream, config.held_out_share, config.dataset_name)
    clips = clip_starts(
        spread_sample(stream, config.max_validation_samples),
        sampling_rate=model.sampling_rate,
        audio_channels=model.config.audio_channels,
        max_seconds=config.validation_seconds,
        option="validation_seconds",
    )
    found = [Clip(name, waveform) for name, waveform in clips]
    if not found:
        raise ValueError("there is no item to validate on; give `validation_dataset_name`, or raise `held_out_share`.")
    for line in validation_lines(config, found, model.sampling_rate):
        logger.info(line)
    return found


def train_autoencoder(config: AutoencoderTrainingConfig, accelerator: Accelerator) -> None:
    """Build, train and publish the model."""
    model = build_model(config)
    config.check_terms(
        model.reconstruction_terms, model.regulariser_terms, trains_on_waveforms=model.trains_on_waveforms
    )
    logger.info(model_line(model))
    logger.info(logs_line(config))
    if config.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    model.train().to(accelerator.device)
    ema = adapt(model, config.lora, config) if config.lora else ModelEMA(model, config.ema_decay)
    if config.torch_compile:
        compile_networks(model)
    stream = build_stream(config, model, accelerator)
    clips = load_clips(config, model) if accelerator.is_main_process else []
    kept = None
    if config.pretrained_model_name_or_path and config.decoder_only_from_step == 0 and accelerator.is_main_process:
        kept = KeptLatents(config.pretrained_model_name_or_path, ema.averaged_model(), clips)

    learner = prepare_learner(
        accelerator, model, config, learning_rate=config.learning_rate, steps=config.max_train_steps
    )
    learners = {"model": learner}
    discriminator, adversary = None, None
    if options := config.adversarial:
        discriminator = options.build_discriminators(model.config.audio_channels)
        logger.info(f"discriminators: {options.pretrained_model_name_or_path or 'new, from the recipe'}")
        schedule = options.build_schedule()
        updates = max(schedule.count_updates(config.max_train_steps), 1)
        learner = prepare_learner(
            accelerator, discriminator, config, learning_rate=options.learning_rate, steps=updates
        )
        learners["discriminator"] = learner
        adversary = Adversary(learner.module, options.build_loss(), schedule)
    losses = config.losses.build(model.sampling_rate)
    objective = AutoencoderObjective(
        learners["model"].module,
        {name: loss.to(accelerator.device) for name, loss in losses.items()},
        config.build_weights(model.frame_rate),
        adversary=adversary,
        balancer=config.balancer.build() if config.balancer else None,
        decoder_only_from_step=config.decoder_only_from_step,
        augmentation=config.build_augmentation(model.hop_length, has_codes=bool(model.codebook_sizes)),
    )

    def validate_and_log(step: int) -> dict[str, float]:
        result = validate(ema.averaged_model(), clips, accelerator.device)
        log_reconstructions(
            accelerator,
            clips,
            result.reconstructions,
            model.sampling_rate,
            step,
            count=config.num_validation_media,
        )
        if result.health:
            log_health(accelerator, result.health, step)
            if step and (warning := result.health.warning(config.min_active_share)):
                logger.warning(warning)
        return result.metrics

    def publish_model(history: Sequence[Mapping[str, float]]) -> None:
        averaged = ema.averaged_model()
        linearity = measured_linearity(averaged, clips, accelerator.device)
        encoder = {"encoder": kept.statement(averaged)} if kept else {}
        write = partial(
            write_model,
            averaged,
            config,
            [*history[:-1], {**history[-1], **linearity}],
            discriminator=discriminator,
            summary=encoder,
            adapter=ema.adapter,
        )
        publish(
            write,
            config,
            history,
            MODEL_FILES,
            remarks=remarks(averaged, config, history, clips),
            next_commands=next_commands(config, best_folder(config, history[-1]["step"])),
        )

    train(
        accelerator,
        config,
        stream,
        learners,
        objective,
        ema,
        labels=metric_labels(model),
        validate=validate_and_log,
        publish=publish_model,
    )


def main(argv: Sequence[str]) -> None:
    """Read the recipe and train."""
    config = parse_config(AutoencoderTrainingConfig, argv)
    # A frozen encoder has no gradients to synchronize.
    frozen = config.decoder_only_from_step is not None
    with training_session(config, MODEL_FILES, find_unused_parameters=frozen) as run:
        train_autoencoder(*run)


if __name__ == "__main__":
    main_or_exit(main)
