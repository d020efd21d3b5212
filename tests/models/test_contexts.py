import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM

from hf_audio_vae.models import contexts
from hf_audio_vae.models.contexts import context_length
from hf_audio_vae.training.token_prior.model import causal_config

SIZES = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TYPES = sorted({*contexts._NUMBERED_FROM_PADDING, "bert", "electra", "modernbert"} - {"longformer", "luke"})


@pytest.mark.parametrize("pad_token_id", [0, 1, 3])
@pytest.mark.parametrize("model_type", TYPES)
def test_an_encoder_reads_as_many_tokens_as_its_configuration_says(model_type: str, pad_token_id: int) -> None:
    config = CONFIG_MAPPING[model_type](**SIZES, pad_token_id=pad_token_id, max_position_embeddings=12)
    if model_type == "xmod":
        config.default_language = "en_XX"
    length = context_length(config)
    assert length is not None
    assert length in (12, 12 - 1 - max(pad_token_id, 1))
    model = AutoModel.from_config(config).eval()
    hidden = model(input_ids=torch.full((1, length), 5)).last_hidden_state
    assert hidden.shape[1] == length
    assert hidden.isfinite().all()


def test_a_new_model_reads_the_length_that_it_was_made_for() -> None:
    for model_type in ("roberta", "bert", "gpt2"):
        sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2} if model_type == "gpt2" else dict(SIZES)
        sizes.pop("vocab_size", None)
        config = causal_config(model_type, sizes, 20, 16)
        assert context_length(config) == 16
        logits = AutoModelForCausalLM.from_config(config).eval()(input_ids=torch.full((1, 16), 5)).logits
        assert logits.shape[1] == 16
