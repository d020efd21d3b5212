"""Train a transformer VAE on codes from `hf-audio-vae encode-dataset`, or on tokenised scores.

accelerate launch training/train_token_vae.py --config training/recipes/tokenvae-codes.yaml
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from accelerate import Accelerator
from accelerate.logging import get_logger

from hf_audio_vae.training.code_streams import code_streams, codes_info, read_records, validation_crops
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import prepare_learner
from hf_audio_vae.training.messages import generate_command
from hf_audio_vae.training.publishing import publish
from hf_audio_vae.training.run import Encoding
from hf_audio_vae.training.script import main_or_exit, train, training_session
from hf_audio_vae.training.token_prior.model import warn_of_other_codes
from hf_audio_vae.training.token_prior.objective import prior_task
from hf_audio_vae.training.token_prior.publishing import PRIOR_FILES, start_lines
from hf_audio_vae.training.token_vae.config import TokenVAETrainingConfig
from hf_audio_vae.training.token_vae.model import build_token_vae
from hf_audio_vae.training.token_vae.objective import TokenVAEObjective, latents_warning, token_vae_metrics
from hf_audio_vae.training.token_vae.publishing import TOKEN_VAE_METRICS, token_vae_table, write_token_vae
from hf_audio_vae.training.weights import build_weight

logger = get_logger(__name__)


def train_token_vae(config: TokenVAETrainingConfig, accelerator: Accelerator) -> None:
    """Build, train and publish the model."""
    # Padding comes last, so a causal decoder needs no mask.
    logging.getLogger("transformers.modeling_utils").addFilter(
        lambda record: "attention_mask" not in record.getMessage()
    )
    record = read_records(config)
    task = prior_task(record, config.order, config.level)
    stream, held_out = code_streams(config, task, accelerator)
    if config.pretrained_model_name_or_path:
        warn_of_other_codes(config.pretrained_model_name_or_path, config.pretrained_revision, record.weights)
    model = build_token_vae(config, task.learnt, task.tokens.length(stream.segment_units))
    info = codes_info(record, task, stream.segment_units)
    for line in start_lines(model, task.learnt, info, record, config):
        logger.info(line)
    ema = EMA(model.train().to(accelerator.device), config.ema_decay)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()

    learner = prepare_learner(
        accelerator, model, config, learning_rate=config.learning_rate, steps=config.max_train_steps
    )
    latents_per_second = model.config.num_latents * task.unit_rate / stream.segment_units
    objective = TokenVAEObjective(
        learner.module, build_weight(config.kl_weight, latents_per_second), word_dropout=config.word_dropout
    )
    validation_batches = validation_crops(config, held_out, accelerator)

    def validate(step: int) -> dict[str, float]:
        metrics = token_vae_metrics(ema.model, validation_batches, task, accelerator.device)
        if step > 0 and (warning := latents_warning(metrics, config.min_latent_gain)):
            logger.warning(warning)
        return metrics

    def publish_model(history: Sequence[Mapping[str, float]]) -> None:
        write = partial(write_token_vae, ema.model, task.learnt, info, record, config, history)
        publish(
            write, config, history, PRIOR_FILES, tabulate=token_vae_table, next_commands=[generate_command(config)]
        )

    train(
        accelerator,
        config,
        stream,
        {"model": learner},
        objective,
        ema,
        labels=TOKEN_VAE_METRICS,
        validate=validate,
        publish=publish_model,
        encoding=Encoding(record.weights),
    )


def main(argv: Sequence[str]) -> None:
    """Read the recipe and train."""
    with training_session(parse_config(TokenVAETrainingConfig, argv), PRIOR_FILES) as run:
        train_token_vae(*run)


if __name__ == "__main__":
    main_or_exit(main)
