"""Encode an audio data set into latents or codes, with their statistics.

A model with a posterior gives latents with moments of each channel. A model with codebooks gives codes with counts.

accelerate launch training/encode_latents.py --model outputs/demo --dataset_name data/train --output_dir LATENTS
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import datasets
import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.data import LatentsRecord, TooManyBadItemsError, load_audio_stream
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.files import check_folder_writable, exclusive
from hf_audio_vae.models import AutoencoderModel, load_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.normalization import write_statistics
from hf_audio_vae.models.registry import keeps_statistics
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.encoding.config import EncodingConfig
from hf_audio_vae.training.encoding.dataset import encode_dataset, row_features, tally
from hf_audio_vae.training.encoding.resuming import drop_previous, set_aside
from hf_audio_vae.training.encoding.row_encoders import completed, record_for, row_encoder
from hf_audio_vae.training.progress import progress_bar
from hf_audio_vae.training.script import main_or_exit, start_log

logger = get_logger(__name__)


def load_model(config: EncodingConfig, device: torch.device) -> AutoencoderModel:
    """Load the model in its inference form, with tiling if its layers support it."""
    model = load_autoencoder(config.model, subfolder=config.model_subfolder, revision=config.model_revision)
    try:
        model.enable_tiling()
    except ValueError as error:
        logger.warning(f"each item is encoded as a whole: {error}")
    model.to(device)  # type: ignore[arg-type]  # a decorator of transformers' hides `self`
    model.fuse()
    return model.eval()


def new_record(config: EncodingConfig, model: AutoencoderModel) -> EncodingRecord:
    """Return the record of the data set before encoding; raises `ValueError` if a row would have no frame."""
    units_of("max_row_seconds", config.max_row_seconds, model.frame_rate, "frame", at_most=True)
    settings = {"weights": model_fingerprint(model), "source": config.source(), **config.location()}
    settings |= {name: getattr(config, name) for name in ("items_per_file", "max_row_seconds")}
    return record_for(model, settings, latents_dtype=config.latents_dtype)


def begin(folder: Path, record: EncodingRecord, model: AutoencoderModel, source: datasets.IterableDataset) -> None:
    """Write the record; of an existing data set, check the settings and set aside what the source does not give."""
    features = row_features(source, row_encoder(model, record))
    if (folder / record.file).is_file():
        previous = type(record).read(folder)
        if differing := previous.differences(record):
            raise ValueError(
                f"{folder} holds {record.noun} made with other settings: {', '.join(differing)}; choose another "
                f"`--output_dir`."
            )
        set_aside(source, folder, record, features, moved=previous.source != record.source)
    elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(f"{folder} holds other files than {record.noun}; choose another `--output_dir`.")
    record.write(folder)


def statistics_folder(config: EncodingConfig) -> Path | None:
    """Return the folder of the model whose config gets the statistics.

    `None` for a Hub id, a read-only folder, and a model whose config has no place for them.
    """
    folder = Path(config.model) / (config.model_subfolder or "")
    if not folder.is_dir() or not keeps_statistics(folder):
        return None
    try:
        check_folder_writable(folder)
    except OSError as error:
        logger.warning(f"{folder} cannot be written ({error.strerror or error}): its config will have no statistics")
        return None
    return folder


def finish(config: EncodingConfig, record: EncodingRecord, folder: Path | None) -> None:
    """Sum the statistics of all files, complete the record, and write the statistics into the config in a folder."""
    total = tally(config.output_dir)
    bad_share = total.bad_items / max(len(total.made_of), 1)
    for name, reason in total.skipped.items():
        logger.warning(f"skipped, at least in part: {name}: {reason}")
    if bad_share > config.max_bad_share:
        raise TooManyBadItemsError(
            f"{total.bad_items} items cannot be decoded, more than `max_bad_share` {config.max_bad_share}; raise "
            f"the limit to skip them, or repair the data set and encode it into another `--output_dir`."
        )
    record = completed(record, total)
    record.write(config.output_dir)
    drop_previous(config.output_dir, total)
    logger.info(f"{record.items} items, {record.seconds:.1f} s, in {record.rows} rows: {config.output_dir}")
    if not isinstance(record, LatentsRecord):
        return
    if folder is None:
        logger.info(f"the statistics are in {record.file}, where training reads them; {config.model} is unchanged")
    elif write_statistics(folder, total.moments.mean.tolist(), total.moments.std.tolist()):
        logger.info(f"latents_mean and latents_std are written into the config of {folder}")
    else:
        logger.info(f"the config of {folder} has statistics already and keeps them: a denoiser may depend on them")


def on_main_process(accelerator: Accelerator, action: Callable[[], None]) -> None:
    """Act on the main process. All processes wait, and raise its error: they would lose the connection to it."""
    errors: list[Exception | None] = [None]
    if accelerator.is_main_process:
        try:
            action()
        except (ValueError, OSError, TooManyBadItemsError) as error:
            errors = [error]
    (result,) = broadcast_object_list(errors)
    if result is not None:
        raise result


def encode(config: EncodingConfig, accelerator: Accelerator) -> None:
    """Encode what is missing, together with the other processes, and complete the record."""
    model = load_model(config, accelerator.device)
    source = load_audio_stream(
        config.dataset_name,
        config_name=config.dataset_config_name,
        split=config.dataset_split,
        data_files=config.data_files,
        audio_column=config.audio_column,
        revision=config.dataset_revision,
        keep_columns=True,
        announce=logger.info if accelerator.is_main_process else None,
    )
    record = new_record(config, model)
    folder = statistics_folder(config) if isinstance(record, LatentsRecord) and accelerator.is_main_process else None
    on_main_process(accelerator, lambda: begin(config.output_dir, record, model, source))
    started = time.monotonic()
    with torch.no_grad(), progress_bar(accelerator, unit=" s of sound", unit_scale=True) as bar:
        encoded = encode_dataset(
            model,
            source,
            config.output_dir,
            record,
            rank=accelerator.process_index,
            world_size=accelerator.num_processes,
            progress=bar.update,
        )
    seconds = accelerator.reduce(torch.tensor(encoded, device=accelerator.device), "sum").item()  # waits for all
    elapsed = time.monotonic() - started
    logger.info(f"{seconds:.1f} s of sound in {elapsed:.1f} s: {seconds / elapsed:.1f} times real time")
    on_main_process(accelerator, lambda: finish(config, record, folder))


def main(argv: Sequence[str]) -> None:
    """Encode the data set and write its record."""
    config = parse_config(EncodingConfig, argv)
    accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))])
    start_log(accelerator)
    with exclusive(config.output_dir) if accelerator.is_main_process else nullcontext():
        encode(config, accelerator)
    accelerator.wait_for_everyone()  # see `train`: the process group must not end while Gloo frees tensors
    accelerator.end_training()


if __name__ == "__main__":
    main_or_exit(main)
