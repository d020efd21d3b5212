"""A trained language model of codes as a folder that transformers loads."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel

from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.latents import CodesInfo, CodeTokens, UpsamplingTokens, save_tokens
from hf_audio_vae.latents.token_storage import TOKENS_FILE
from hf_audio_vae.training.publishing import write_run
from hf_audio_vae.training.token_prior_config import TokenPriorTrainingConfig

PRIOR_FILES = ["config.json", "generation_config.json", "model*.safetensors*", TOKENS_FILE]
PRIOR_METRICS = {  # what a validation returns
    "nats_per_code": "held-out codes (nats a code, ↓)",
    "bits_per_code": "held-out codes (bits a code, ↓)",
    "memoryless_nats_per_code": "that of the best memoryless guess (nats a code)",
    "code_loss_ratio": "cost / memoryless guess (↓)",
    "prior_bits_per_second": "held-out codes (bits a second, ↓)",
}


def prior_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row a metric and a column for each entry."""
    rows: list[list[str | float]] = [
        [label, *(values[name] for values in columns.values())] for name, label in PRIOR_METRICS.items()
    ]
    return table(["metric", *columns], rows)


def write_prior(
    model: PreTrainedModel,
    tokens: CodeTokens | UpsamplingTokens,
    info: CodesInfo,
    config: TokenPriorTrainingConfig,
    history: Sequence[Mapping[str, float]],
    title: str,
) -> None:
    """Write model, `code_tokens.json`, `recipe.yaml`, `metrics.json` and the card `README.md`.

    Args:
        model (`PreTrainedModel`): What to publish, as a rule the averaged one.
        tokens (`CodeTokens` or `UpsamplingTokens`): What it has learnt to write.
        info (`CodesInfo`): Where the codes come from.
        config (`TokenPriorTrainingConfig`): The recipe, overrides included; it all goes into its `output_dir`.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation; the last is the model's.
        title (`str`): What the card calls it.
    """
    model.save_pretrained(config.output_dir)
    save_tokens(config.output_dir, tokens, info)
    order = tokens.order if isinstance(tokens, CodeTokens) else "a coarse level, then the finer one"
    summary = {
        "parameters": f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M",
        "architecture": str(model.config.model_type),
        "codes of": info.model,
        "levels": ", ".join(map(str, info.levels)) or "none",
        "tokens": f"{tokens.vocab_size} ids, {order}",
        "training steps": f"{history[-1]['step']:.0f}",
    }
    recipe = config.model_dump(mode="json", exclude_none=True)
    write_run(config.output_dir, recipe, history, prior_card(title, summary, history[-1]))


def prior_card(title: str, summary: Mapping[str, str], metrics: Mapping[str, float]) -> str:
    """Return the card of a language model of codes."""
    return f"""---
library_name: transformers
tags: [audio, codes, language-model, hf-audio-vae]
---

# {title}

```python
from transformers import AutoModelForCausalLM

from hf_audio_vae.latents import load_tokens

model = AutoModelForCausalLM.from_pretrained("{title}")
tokens, info = load_tokens("{title}")  # ids to codes and back
```

{table(["", "value"], list(summary.items()))}

{prior_table({"value": metrics})}

The memoryless guess knows how often each code of each codebook is in the training data, and nothing of its neighbours:
who is not better has learnt nothing of their order.
"""
