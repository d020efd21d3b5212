"""Folder of a trained language model of codes, which transformers loads."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedModel

from hf_audio_vae.data import CodesRecord
from hf_audio_vae.evaluation.card_metadata import GENERATOR_TASK, Measured, Origin, card_data, without_folders
from hf_audio_vae.evaluation.cards import card_text, recipe_section, title_note
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.tokens import CodesInfo, CodeTokens, UpsamplingTokens, save_tokens
from hf_audio_vae.tokens.scores import TOKENIZER_FILE
from hf_audio_vae.tokens.storage import TOKENS_FILE
from hf_audio_vae.training.code_streams import CodesTrainingConfig
from hf_audio_vae.training.messages import data_line, logs_line, properties_line
from hf_audio_vae.training.publishing import measured_in_run, origin_of_run, write_run
from hf_audio_vae.training.token_prior.config import TokenPriorTrainingConfig

PRIOR_FILES = ["config.json", "generation_config.json", "model*.safetensors*", TOKENS_FILE, TOKENIZER_FILE]
PRIOR_METRICS = {  # metrics of a validation
    "nats_per_code": "held-out codes (nats a code, ↓)",
    "bits_per_code": "held-out codes (bits a code, ↓)",
    "memoryless_nats_per_code": "unigram baseline (nats a code)",
    "code_loss_ratio": "cost / unigram baseline (↓)",
    "prior_bits_per_second": "held-out codes (bits a second, ↓)",
}


def prior_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each metric and a column for each entry."""
    return labelled_table(PRIOR_METRICS, columns)


def labelled_table(labels: Mapping[str, str], columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each label of a metric and a column for each entry."""
    rows: list[list[str | float]] = [
        [label, *(values[name] for values in columns.values())] for name, label in labels.items()
    ]
    return table(["metric", *columns], rows)


def write_prior(
    model: PreTrainedModel,
    tokens: CodeTokens | UpsamplingTokens,
    info: CodesInfo,
    record: CodesRecord,
    config: TokenPriorTrainingConfig,
    history: Sequence[Mapping[str, float]],
    folder: Path,
    title: str,
) -> None:
    """Write model, `code_tokens.json`, `recipe.yaml`, `metrics.json` and the card `README.md` into a folder.

    Args:
        model (`PreTrainedModel`): Model to publish, usually the averaged one.
        tokens (`CodeTokens` or `UpsamplingTokens`): Its tokens.
        info (`CodesInfo`): Source of the codes.
        record (`CodesRecord`): Record of the training data set.
        config (`TokenPriorTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation; the last is the model's.
        folder (`Path`): Folder to write into.
        title (`str`): Title of the card.
    """
    save_prior(model, tokens, info, folder)
    summary = prior_summary(model, tokens, info, record, config, history)
    recipe = config.model_dump(mode="json", exclude_none=True)
    measured = measured_in_run(config, history[-1], PRIOR_METRICS)
    card = prior_card(title, summary, measured, origin_of_run(config), by_itself=isinstance(tokens, CodeTokens))
    write_run(folder, config, recipe, history, card)


def save_prior(model: PreTrainedModel, tokens: CodeTokens | UpsamplingTokens, info: CodesInfo, folder: Path) -> None:
    """Write model and `code_tokens.json` into a folder, and the tokenizer if the codes are those of scores."""
    model.save_pretrained(folder)
    save_tokens(folder, tokens, info)
    if Path(info.model).name == TOKENIZER_FILE and Path(info.model).is_file():
        shutil.copy(info.model, folder)


def model_properties(model: PreTrainedModel, tokens: CodeTokens | UpsamplingTokens, info: CodesInfo) -> dict[str, str]:
    """Return the properties of a language model for its card and for the log."""
    order = tokens.order if isinstance(tokens, CodeTokens) else "a coarse level, then the finer one"
    return {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        "architecture": str(model.config.model_type),
        "codes of": without_folders(info.model),
        "levels": ", ".join(map(str, info.levels)) or "none",
        "tokens": f"{tokens.vocab_size} ids, {order}",
    }


def start_lines(
    model: PreTrainedModel,
    tokens: CodeTokens | UpsamplingTokens,
    info: CodesInfo,
    record: CodesRecord,
    config: CodesTrainingConfig,
) -> list[str]:
    """Return lines of the log: the model, the data, and where the log of the losses goes."""
    properties = properties_line(type(model).__name__, model_properties(model, tokens, info))
    return [properties, data_line(config, record), logs_line(config)]


def prior_summary(
    model: PreTrainedModel,
    tokens: CodeTokens | UpsamplingTokens,
    info: CodesInfo,
    record: CodesRecord,
    config: CodesTrainingConfig,
    history: Sequence[Mapping[str, float]],
) -> dict[str, str]:
    """Return what a card says of a model and its training; the arguments are those of `write_prior`."""
    limit = "" if config.max_train_samples is None else f", of which {config.max_train_samples} rows at most"
    crops = "the start" if config.validation_crops == 1 else f"the first {config.validation_crops} crops"
    return {
        **model_properties(model, tokens, info),
        "trained on": f"`{without_folders(config.dataset_name)}`: {record.items} items, {record.seconds:.1f} s{limit}",
        "held out": f"`{without_folders(config.validation_dataset_name)}`, {crops} of each of "
        f"{config.max_validation_samples} rows at most",
        "training steps": f"{history[-1]['step']:.0f}",
    }


def prior_card(title: str, summary: Mapping[str, str], measured: Measured, origin: Origin, *, by_itself: bool) -> str:
    """Return the card of a language model of codes: of one level (`by_itself`), or of one given a coarser level."""
    call = f"{title} --seconds 2" if by_itself else f"COARSE --upsampler {title} --seconds 2  # COARSE: its prior"
    condition = "" if by_itself else "Bits are those of the finer level's codes given the coarser level's codes.\n\n"
    data = card_data(
        title,
        library="transformers",
        task=GENERATOR_TASK,
        tags=["audio", "codes", "language-model"],
        origin=origin,
        measured=measured,
    )
    use = f"""## How to use

{title_note(title)}```sh
hf-audio-vae generate {call}
```

```python
from transformers import AutoModelForCausalLM

from hf_audio_vae.tokens import load_tokens

model = AutoModelForCausalLM.from_pretrained("{title}")
tokens, info = load_tokens("{title}")  # ids to codes and back
```
"""
    figures = f"""## Figures

{prior_table({"value": measured.values})}

{condition}The unigram baseline is the frequency of each code of each codebook in the training data, with add-1/2
smoothing and without context.
"""
    properties = table(["", "value"], list(summary.items()))
    return card_text(data, title, use, properties, recipe_section("train-prior"), figures)
