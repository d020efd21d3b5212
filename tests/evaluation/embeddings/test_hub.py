"""Embeddings by tiny random networks that were saved to disk."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
    EncodecConfig,
    EncodecModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)

from hf_audio_vae.evaluation.embeddings import embed, embedding_of
from tests.evaluation.test_metrics import noise


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("clap", "mert", "encodec")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        audio = ClapAudioConfig(
            patch_embeds_hidden_size=16, depths=[1, 1], num_attention_heads=[2, 2], hidden_size=32, projection_dim=8
        )
        text = ClapTextConfig(
            vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        clap = ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=8)
        ClapModel(clap).save_pretrained(folders["clap"])
        ClapFeatureExtractor(max_length_s=10, truncation="rand_trunc").save_pretrained(folders["clap"])
        HubertModel(
            HubertConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=16,
                conv_dim=(8,) * 7,
                num_conv_pos_embeddings=4,
                num_conv_pos_embedding_groups=2,
            )
        ).save_pretrained(folders["mert"])
        Wav2Vec2FeatureExtractor(sampling_rate=24000, do_normalize=True).save_pretrained(folders["mert"])
        EncodecModel(
            EncodecConfig(
                num_filters=4, hidden_size=8, codebook_size=16, codebook_dim=8, upsampling_ratios=[8, 5, 4, 2]
            )
        ).save_pretrained(folders["encodec"])
    change(folders["mert"], model_type="mert_model", auto_map={"AutoModel": "modeling_MERT.MERTModel"}, deepnorm=False)
    return folders


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("name", "rate", "shape"), [("clap", 48000, (3, 8)), ("mert", 24000, None), ("encodec", 24000, None)]
)
def test_frames_of_twelve_seconds(
    folders: dict[str, Path], name: str, rate: int, shape: tuple[int, int] | None
) -> None:
    embedding = embedding_of(name, model=str(folders[name]))
    assert embedding.sampling_rate == rate
    assert str(folders[name]) in embedding.name
    values = embed(embedding, 0.1 * noise(2, 12 * 16000), 16000)
    assert values.isfinite().all()
    assert values.dtype == torch.float32
    if shape is not None:
        assert values.shape == shape  # windows of 10 s from 0, 1 and 2 s
    else:
        assert abs(len(values) - 12 * 75) <= 4
    assert torch.equal(values, embed(embedding, 0.1 * noise(2, 12 * 16000), 16000)), "nothing is random"


@pytest.mark.parametrize("name", ["clap", "mert", "encodec"])
def test_any_length_has_a_frame(folders: dict[str, Path], name: str) -> None:
    embedding = embedding_of(name, model=str(folders[name]))
    for time in (1, 300, 10 * embedding.sampling_rate + 1):
        assert len(embedding(noise(1, time))) >= 1


def test_clap_is_the_model_of_transformers(folders: dict[str, Path]) -> None:
    waveform = 0.1 * noise(1, 5 * 48000)
    model = ClapModel.from_pretrained(folders["clap"]).eval()
    inputs = ClapFeatureExtractor.from_pretrained(folders["clap"])(
        waveform[0].numpy(), sampling_rate=48000, return_tensors="pt"
    )
    with torch.no_grad():
        expected = model.get_audio_features(**inputs).pooler_output
    value = embedding_of("clap", model=str(folders["clap"]))(waveform)
    torch.testing.assert_close(value, expected)
    assert value.norm(dim=1).item() == pytest.approx(1, abs=1e-5)


def test_mert_is_read_as_hubert_without_remote_code(folders: dict[str, Path]) -> None:
    waveform = 0.1 * noise(1, 24000)
    embedding = embedding_of("mert", model=str(folders["mert"]))
    normalised = (waveform - waveform.mean()) / (waveform.var(correction=0) + 1e-7).sqrt()
    with torch.no_grad():
        expected = embedding._model(normalised).last_hidden_state[0]
    torch.testing.assert_close(embedding(waveform), expected, rtol=1e-4, atol=1e-4)
    # A gain has no effect on a network whose input is normalised.
    torch.testing.assert_close(embedding(0.5 * waveform), expected, rtol=1e-3, atol=1e-3)


def test_encodec_is_the_encoder_of_transformers(folders: dict[str, Path]) -> None:
    waveform = 0.1 * noise(1, 24000)
    model = EncodecModel.from_pretrained(folders["encodec"]).eval()
    with torch.no_grad():
        expected = model.encoder(waveform[None])[0].T
    torch.testing.assert_close(embedding_of("encodec", model=str(folders["encodec"]))(waveform), expected)


def test_models_with_layers_of_their_own_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for path in folders["mert"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    change(tmp_path, feature_extractor_cqt=True)
    with pytest.raises(ValueError, match="has feature_extractor_cqt, which only its remote code can run"):
        embedding_of("mert", model=str(tmp_path))
