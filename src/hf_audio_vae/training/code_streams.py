"""Options and streams of the training of language models on codes from encode_latents.py."""

from functools import partial

from accelerate import Accelerator
from pydantic import Field

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.data import CodesRecord, CodeStream, load_latent_stream
from hf_audio_vae.data.codes import TokenBatch
from hf_audio_vae.tokens import CodesInfo
from hf_audio_vae.tokens.code_tokens import Order
from hf_audio_vae.training.config import TrainingConfig
from hf_audio_vae.training.held_out import first_crops
from hf_audio_vae.training.sections import Changeable
from hf_audio_vae.training.token_prior.objective import PriorTask


class CodesTrainingConfig(TrainingConfig):
    """Options of a training run on codes."""

    dataset_name: str = Field(description="codes written by `hf-audio-vae encode-dataset`, folder or Hub id")
    validation_dataset_name: str = Field(description="held-out codes")
    validation_dataset_revision: str | None = None
    order: Order | None = Field(None, description="order of the codes of a level; `delayed` if not given")
    level: int | None = Field(None, ge=0, description="level of a hierarchy to model; the coarsest if not given")

    validation_crops: Changeable[int] = Field(1, ge=1, description="validation crops of each row")

    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.95, ge=0, lt=1)


def read_records(config: CodesTrainingConfig) -> CodesRecord:
    """Return the record of the training codes and check that the held-out codes are from the same model."""
    record = CodesRecord.read(config.dataset_name, config.dataset_revision)
    record.check_weights(record.weights, config.dataset_name)
    held_out = config.validation_dataset_name
    CodesRecord.read(held_out, config.validation_dataset_revision).check_weights(
        record.weights, held_out, others=f"those in {config.dataset_name}", remedy=f"encode with {record.model}"
    )
    return record


def code_streams(
    config: CodesTrainingConfig, task: PriorTask, accelerator: Accelerator
) -> tuple[CodeStream, CodeStream]:
    """Return streams of training sequences for this process and of held-out sequences."""
    source = load_latent_stream(config.dataset_name, split=config.dataset_split, revision=config.dataset_revision)
    held_out = load_latent_stream(
        config.validation_dataset_name,
        split=config.validation_dataset_split,
        revision=config.validation_dataset_revision,
    )
    segment_units = units_of("segment_seconds", config.segment_seconds, task.unit_rate, "frame")
    if segment_units < task.learnt.shortest_window:
        shortest = task.learnt.shortest_window / task.unit_rate
        raise ValueError(
            f"crops of {segment_units} frames are too short for {task.learnt.num_codebooks} delayed codebooks; raise "
            f"`segment_seconds` to {shortest:.3g} at least, or choose another `order`."
        )
    stream = partial(
        CodeStream,
        tokens=task.tokens,
        columns=task.columns,
        unit_rate=task.unit_rate,
        segment_units=segment_units,
        batch_size=config.train_batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
        max_bad_share=config.max_bad_share,
    )
    train = stream(source, max_items=config.max_train_samples, shuffle_buffer_size=config.shuffle_buffer_size)
    return train, stream(held_out, shuffle_buffer_size=1)


def codes_info(record: CodesRecord, task: PriorTask, segment_units: int) -> CodesInfo:
    """Return the origin of the codes of a model that was trained on crops of `segment_units` units."""
    return CodesInfo(
        model=record.model,
        weights=record.weights,
        levels=task.levels,
        frame_rates=task.frame_rates,
        segment_units=segment_units,
        subfolder=record.model_subfolder,
        revision=record.model_revision,
    )


def validation_crops(config: CodesTrainingConfig, held_out: CodeStream, accelerator: Accelerator) -> list[TokenBatch]:
    """Return the held-out sequences on the main process, and none on others."""
    if not accelerator.is_main_process:
        return []
    return first_crops(
        held_out,
        config.max_validation_samples,
        crops_per_row=config.validation_crops,
        stride=held_out.segment_units,
    )
