import pytest
import torch

from hf_audio_vae.models import denoising
from hf_audio_vae.models.denoising import MAX_PROMPT_TOKENS, encode_prompts, unknown_texts
from tests.pipelines.latent_parts import audio_of, latent_diffusion


def test_a_prompt_that_is_too_long_is_cut_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(denoising.logger, "warning", said.append)
    pipeline = latent_diffusion(text=True)
    parts = (pipeline.tokenizer, pipeline.text_encoder)
    exact = " ".join(["drum"] * (MAX_PROMPT_TOKENS - 1))  # and the end
    states, mask = encode_prompts(*parts, [exact, "a drum"], torch.device("cpu"))
    assert states.shape[:2] == mask.shape == (2, MAX_PROMPT_TOKENS)
    assert mask.sum(dim=1).tolist() == [MAX_PROMPT_TOKENS, 3]
    assert not said
    states, _ = encode_prompts(*parts, [f"{exact} a drum"], torch.device("cpu"))
    assert states.shape[1] == MAX_PROMPT_TOKENS
    assert said == ["a prompt has 130 tokens; the first 128 are used."]


UNKNOWN = ["барабан", "鼓声，大", "барабан, барабан"]


def test_texts_without_a_known_letter_are_found() -> None:
    tokenizer = latent_diffusion(text=True).tokenizer
    known = ["a drum", "a барабан", "", "  "]
    assert unknown_texts(tokenizer, [*known, *UNKNOWN]) == UNKNOWN


def test_a_text_in_unknown_letters_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(denoising.logger, "warning", said.append)
    pipeline = latent_diffusion(text=True)
    audio_of(pipeline, "a drum")
    assert not said
    for _ in range(2):  # steps of a training
        encode_prompts(pipeline.tokenizer, pipeline.text_encoder, ["a drum", "барабан"], torch.device("cpu"))
    audio_of(pipeline, "барабан")
    assert len(said) == 1
    assert "knows no letter of 'барабан': it becomes <unk> only" in said[0]
    audio_of(latent_diffusion(text=True), "барабан")
    assert len(said) == 2, "another pipeline"
