"""Train any causal language model of transformers on codes from `hf-audio-vae encode-dataset`.

accelerate launch training/train_token_prior.py --config training/recipes/token-prior-demo.yaml
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from accelerate import Accelerator
from accelerate.logging import get_logger
from transformers import PreTrainedModel

from hf_audio_vae.training.code_streams import code_streams, codes_info, read_records, validation_crops
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import prepare_learner
from hf_audio_vae.training.messages import generate_command
from hf_audio_vae.training.publishing import publish
from hf_audio_vae.training.run import Encoding
from hf_audio_vae.training.script import main_or_exit, train, training_session
from hf_audio_vae.training.token_prior.config import TokenPriorTrainingConfig
from hf_audio_vae.training.token_prior.model import new_prior, pretrained_prior, warn_of_other_codes
from hf_audio_vae.training.token_prior.objective import (
    PriorTask,
    TokenObjective,
    prior_metrics,
    prior_task,
)
from hf_audio_vae.training.token_prior.publishing import (
    PRIOR_FILES,
    PRIOR_METRICS,
    prior_table,
    start_lines,
    write_prior,
)

logger = get_logger(__name__)


def build_model(
    config: TokenPriorTrainingConfig, task: PriorTask, segment_units: int, weights: str
) -> PreTrainedModel:
    """Return a new language model, or a pretrained one; `weights` is the fingerprint of the codes' model."""
    length = task.tokens.length(segment_units)
    if config.pretrained_model_name_or_path is None:
        return new_prior(config.model_type, config.model, task.tokens.vocab_size, length)
    warn_of_other_codes(config.pretrained_model_name_or_path, config.pretrained_revision, weights)
    logger.info(
        f"continuing the training of {config.pretrained_model_name_or_path}: it replaces `model_type` and `model`"
    )
    return pretrained_prior(
        config.pretrained_model_name_or_path,
        task.tokens,
        length,
        subfolder=config.pretrained_subfolder,
        revision=config.pretrained_revision,
    )


def train_token_prior(config: TokenPriorTrainingConfig, accelerator: Accelerator) -> None:
    """Build, train and publish the model."""
    # Padding comes last, so a causal model needs no mask. A mask would disable the fastest attention kernel.
    logging.getLogger("transformers.modeling_utils").addFilter(
        lambda record: "attention_mask" not in record.getMessage()
    )
    record = read_records(config)
    task = prior_task(record, config.order, config.level, config.upsample_from_level)
    stream, held_out = code_streams(config, task, accelerator)
    model = build_model(config, task, stream.segment_units, record.weights)
    info = codes_info(record, task, stream.segment_units)
    for line in start_lines(model, task.tokens, info, record, config):
        logger.info(line)
    ema = EMA(model.train().to(accelerator.device), config.ema_decay)
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()

    learner = prepare_learner(
        accelerator, model, config, learning_rate=config.learning_rate, steps=config.max_train_steps
    )
    validation_batches = validation_crops(config, held_out, accelerator)

    def validate(step: int) -> dict[str, float]:
        return prior_metrics(ema.model, validation_batches, task, accelerator.device)

    def publish_model(history: Sequence[Mapping[str, float]]) -> None:
        write = partial(write_prior, ema.model, task.tokens, info, record, config, history)
        coarser = ["COARSE", "--upsampler", str(config.output_dir)] if config.upsample_from_level is not None else []
        commands = [generate_command(config, *coarser)]
        publish(write, config, history, PRIOR_FILES, tabulate=prior_table, next_commands=commands)

    objective = TokenObjective(learner.module)
    train(
        accelerator,
        config,
        stream,
        {"model": learner},
        objective,
        ema,
        labels=PRIOR_METRICS,
        validate=validate,
        publish=publish_model,
        encoding=Encoding(record.weights),
    )


def main(argv: Sequence[str]) -> None:
    """Read the recipe and train."""
    with training_session(parse_config(TokenPriorTrainingConfig, argv), PRIOR_FILES) as run:
        train_token_prior(*run)


if __name__ == "__main__":
    main_or_exit(main)
