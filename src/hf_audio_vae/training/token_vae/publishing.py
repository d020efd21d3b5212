"""Folder of a trained TokenVAE."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio_vae.data import CodesRecord
from hf_audio_vae.evaluation.card_metadata import GENERATOR_TASK, PACKAGE, Measured, Origin, card_data
from hf_audio_vae.evaluation.cards import card_text, recipe_section, title_note
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.models import TokenVAE
from hf_audio_vae.tokens import CodesInfo, CodeTokens
from hf_audio_vae.training.publishing import measured_in_run, origin_of_run, write_run
from hf_audio_vae.training.token_prior.publishing import labelled_table, prior_summary, save_prior
from hf_audio_vae.training.token_vae.config import TokenVAETrainingConfig

TOKEN_VAE_METRICS = {  # metrics of a validation
    "elbo_nats_per_code": "held-out codes, negative ELBO (nats a code, ↓)",
    "nats_per_code": "given own latents (nats a code, ↓)",
    "nats_per_code_of_other_latents": "given another item's latents (nats a code)",
    "latent_gain": "gain of own latents (nats a code, ↑)",
    "kl_nats": "KL (nats a sequence)",
    "kl_bits": "KL (bits a sequence)",
    "mutual_information": "mutual information of latents and items (nats)",
    "mutual_information_limit": "its limit, log of the items (nats)",
    "active_units": "active channels",
    "memoryless_nats_per_code": "unigram baseline (nats a code)",
    "elbo_ratio": "negative ELBO / unigram baseline (↓)",
    "perplexity_bound": "perplexity of a token, at most (↓)",
}


def token_vae_table(columns: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a row for each metric and a column for each entry."""
    return labelled_table(TOKEN_VAE_METRICS, columns)


def write_token_vae(
    model: TokenVAE,
    tokens: CodeTokens,
    info: CodesInfo,
    record: CodesRecord,
    config: TokenVAETrainingConfig,
    history: Sequence[Mapping[str, float]],
    folder: Path,
    title: str,
) -> None:
    """Write model, `code_tokens.json`, `recipe.yaml`, `metrics.json` and the card `README.md` into a folder.

    The arguments are those of `write_prior`.
    """
    save_prior(model, tokens, info, folder)
    parts = model.config
    summary = prior_summary(model, tokens, info, record, config, history) | {
        "architecture": f"{parts.encoder.model_type} encoder, {parts.decoder.model_type} decoder",
        "latents": f"{parts.num_latents} x {parts.latent_channels} channels for at most {info.segment_units} frames",
        "conditioning": parts.conditioning,
    }
    recipe = config.model_dump(mode="json", exclude_none=True)
    measured = measured_in_run(config, history[-1], TOKEN_VAE_METRICS)
    write_run(folder, config, recipe, history, token_vae_card(title, summary, measured, origin_of_run(config)))


def token_vae_card(title: str, summary: Mapping[str, str], measured: Measured, origin: Origin) -> str:
    """Return the card of a TokenVAE."""
    data = card_data(
        title,
        library=PACKAGE,
        task=GENERATOR_TASK,
        tags=["audio", "codes", "vae", "language-model", "transformers"],
        origin=origin,
        measured=measured,
    )
    use = f"""## How to use

{title_note(title)}```sh
hf-audio-vae generate {title}
hf-audio-vae generate {title} --init_audio FILE  # with the latents of a sound, or of a score
```

```python
from hf_audio_vae import TokenVAE
from hf_audio_vae.tokens import load_tokens

model = TokenVAE.from_pretrained("{title}")
tokens, info = load_tokens("{title}")  # ids to codes and back
latents = model.sample_latents(1)  # or model.encode(ids).latent_dist.mode()
ids = model.generate(latents=latents)
```

`AutoModelForCausalLM` of transformers loads it, too, after `import hf_audio_vae`, which registers the class.
"""
    figures = f"""## Figures

{token_vae_table({"value": measured.values})}

The KL is that of a whole sequence. The mutual information is an estimate from the held-out sequences, at most the
logarithm of their number. The unigram baseline is the frequency of each code of each codebook in the training data,
with add-1/2 smoothing and without context.
"""
    properties = table(["", "value"], list(summary.items()))
    return card_text(data, title, use, properties, recipe_section("train-token-vae"), figures)
