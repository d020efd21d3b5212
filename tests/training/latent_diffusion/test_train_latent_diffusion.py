"""From sound to a pipeline that generates, by the scripts, as small as it comes."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from hf_audio_vae import AudioLatentDiffusionPipeline, WaveformVAE
from hf_audio_vae.cli.main import main
from hf_audio_vae.data import read_record
from tests.training.runs import REPO, TWO_PROCESSES, equal, kill_when, published_card, run

SCRIPT = str(REPO / "training/train_latent_diffusion.py")
ENCODE = str(REPO / "training/encode_latents.py")
RATE = 8000
RECIPE = {
    "seed": 3,
    "segment_seconds": 0.5,
    "dataloader_num_workers": 0,
    "max_validation_samples": 3,
    "num_validation_sounds": 2,
    "validation_inference_steps": 2,
    "train_batch_size": 4,
    "max_train_steps": 8,
    "learning_rate": 3e-3,
    "conditioner_hidden_size": 8,
    "transformer": {
        "num_layers": 1,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "num_key_value_attention_heads": 2,
        "cross_attention_dim": 8,
        "time_proj_dim": 8,
    },
    "checkpointing_steps": 4,
    "validation_steps": 100,
    "logging_steps": 2,
    "report_to": "none",
}
WORDS = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in ["music", "speech", "drum", "note", "a", "of", "sfx"])]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, latents of the sound in the repository by it, and a text encoder with its tokenizer."""
    folder = tmp_path_factory.mktemp("material")
    torch.manual_seed(0)
    WaveformVAE(4, (5, 8), (1, 2), 4, 3, 1, RATE).save_pretrained(folder / "vae")
    for name in ("train", "held_out"):
        arguments = ["--model", folder / "vae", "--dataset_name", REPO / "data" / name, "--output_dir", folder / name]
        finished = run([sys.executable, ENCODE, *map(str, arguments), "--items_per_file", "8"])
        assert finished.returncode == 0, finished.stderr
    config = T5Config(vocab_size=len(WORDS), d_model=12, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / "t5")
    pieces = [(word, -float(i)) for i, word in enumerate(WORDS)]
    T5Tokenizer(pieces, extra_ids=0, model_max_length=16).save_pretrained(folder / "t5")
    return folder


def command(
    material: Path, output_dir: Path, *options: str, launcher: tuple[str, ...] = (), **changes: object
) -> list[str]:
    recipe = RECIPE | {
        "vae_name_or_path": str(material / "vae"),
        "dataset_name": str(material / "train"),
        "validation_dataset_name": str(material / "held_out"),
    }
    path = output_dir.with_name(f"{output_dir.name}.yaml")
    path.write_text(yaml.safe_dump(recipe | changes))
    return [sys.executable, *launcher, SCRIPT, "--config", str(path), "--output_dir", str(output_dir), *options]


def denoiser_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The published networks, which are the averaged ones."""
    names = ("transformer", "conditioner")
    parts = {name: load_file(folder / name / "diffusion_pytorch_model.safetensors") for name in names}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}


CONDITIONINGS: dict[str, dict[str, object]] = {
    "none": {},
    "class": {"label_column": "source_package", "process": "v_prediction"},
    "text": {"text_column": "label"},
    "both": {"label_column": "source_package", "text_column": "label"},
}


@pytest.mark.parametrize(
    "conditioning",
    [pytest.param(name, marks=() if name in ("class", "text") else pytest.mark.slow) for name in CONDITIONINGS],
)
def test_from_latents_to_a_pipeline_that_generates(material: Path, tmp_path: Path, conditioning: str) -> None:
    changes = dict(CONDITIONINGS[conditioning])
    if "text_column" in changes:
        changes["text_encoder_name_or_path"] = str(material / "t5")
    out = tmp_path / "out"
    finished = run(command(material, out, **changes))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((out / "metrics.json").read_text())
    assert [row["step"] for row in history] == [0, 8]
    assert history[1]["denoising_loss"] < history[0]["denoising_loss"]
    assert history[1]["linear_guess_loss"] == history[0]["linear_guess_loss"], "held-out items at fixed draws"
    assert f"{history[1]['loss_ratio']:.3f}" in published_card(out)
    assert re.search(r"Pipeline: parameters of the denoiser \d\.\d\d M, latents 3 channels at ", finished.stderr)
    record = read_record(material / "train")
    assert f"training data: {record.items} items, {record.seconds:.1f} s of sound" in finished.stderr
    names = json.loads((out / "conditioner/config.json").read_text())["class_names"]
    assert (f"; {len(names)} classes: {', '.join(names[:5])}, ..." in finished.stderr) == ("label_column" in changes)
    options = (["--prompt", "a text"] if "text_column" in changes else []) + (
        ["--class_label", names[0]] if "label_column" in changes else []
    )
    words = shlex.split(finished.stdout.partition("to go on with it:\n")[2].splitlines()[0])
    expected = ["hf-audio-vae", "generate", str(out), *options, "--output_dir", f"{out}-sounds"]
    assert words == expected
    assert main([*words[1:], "--num_inference_steps", "2"]) == 0
    assert list(Path(f"{out}-sounds").glob("*.wav"))

    pipeline = AudioLatentDiffusionPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    assert list(pipeline.vae.config.latents_std) == record.latents_std
    packages = "freecol" if "label_column" in changes else None
    prompt = "a drum" if "text_column" in changes else None
    options = {"audio_end_in_s": 0.3, "num_inference_steps": 3, "generator": torch.Generator().manual_seed(0)}
    assert f"the pipeline generates at most {pipeline.max_seconds:g} s" in finished.stderr
    audio = pipeline(prompt, packages, **options).audios
    assert audio.shape == (1, 1, round(0.3 * RATE))
    assert audio.std() > 0
    if packages:
        with pytest.raises(ValueError, match="'freecol', 'fretsonfire-songs-sectoid'"):
            pipeline(prompt, "piano")


@pytest.mark.slow
def test_resume_after_a_kill_is_bit_equal(material: Path, tmp_path: Path) -> None:
    changes = {"label_column": "source_package", "dataloader_num_workers": 2}
    straight = run(command(material, tmp_path / "straight", **changes))
    assert straight.returncode == 0, straight.stderr
    arguments = command(material, tmp_path / "killed", **changes)
    kill_when(arguments, tmp_path / "killed/checkpoint-4")
    assert not (tmp_path / "killed/metrics.json").exists()
    finished = run([*arguments, "--resume_from_checkpoint", "latest"])
    assert "resumed from" in finished.stderr, finished.stderr
    assert equal(denoiser_weights(tmp_path / "killed"), denoiser_weights(tmp_path / "straight"))
    file = "checkpoint-8/optimizer.safetensors"
    assert equal(load_file(tmp_path / "killed" / file), load_file(tmp_path / "straight" / file))


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_twice_the_batch(material: Path, tmp_path: Path) -> None:
    changes = {"label_column": "source_package", "text_column": None, "ema_decay": 0.0, "num_validation_sounds": 0}
    one = run(command(material, tmp_path / "one", **changes, train_batch_size=8))
    two = run(command(material, tmp_path / "two", launcher=TWO_PROCESSES, **changes))
    assert one.returncode == two.returncode == 0, two.stderr
    weights = denoiser_weights(tmp_path / "one")
    for name, weight in denoiser_weights(tmp_path / "two").items():
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=1e-5)


def test_latents_of_another_model_are_refused(material: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    WaveformVAE(4, (5, 8), (1, 2), 4, 3, 1, RATE).save_pretrained(tmp_path / "other")
    finished = run(command(material, tmp_path / "out", "--vae_name_or_path", str(tmp_path / "other")))
    assert finished.returncode == 2
    assert "with other weights than the given autoencoder" in finished.stderr


def test_a_run_is_not_resumed_on_other_classes(material: Path, tmp_path: Path) -> None:
    sounds, latents = tmp_path / "sounds", tmp_path / "latents"
    for name, part in (("bird", "flute"), ("car", "drum")):
        (sounds / name).mkdir(parents=True)
        for path in sorted((REPO / "data/train").glob(f"{part}_*"))[:1]:
            shutil.copy(path, sounds / name)
    encode = [sys.executable, ENCODE, "--model", material / "vae", "--dataset_name", sounds, "--output_dir", latents]
    train = command(material, tmp_path / "out", dataset_name=str(latents), label_column="label", max_bad_share=1.0)
    train += ["--validation_dataset_name", str(latents), "--max_train_steps"]
    assert run([*map(str, encode)]).returncode == 0
    assert run([*train, "1"]).returncode == 0
    (sounds / "bird").rename(sounds / "zebra")  # as many classes, so that all weights fit
    assert run([*map(str, encode)]).returncode == 0
    finished = run([*train, "2", "--resume_from_checkpoint", "latest"])
    assert finished.returncode == 2
    assert "checkpoint-1 was trained with the classes bird, car, and the data has car, zebra: its" in finished.stderr


def test_a_run_is_not_resumed_with_other_latent_statistics(material: Path, tmp_path: Path) -> None:
    vae = tmp_path / "vae"
    shutil.copytree(material / "vae", vae)
    train = command(material, tmp_path / "out", vae_name_or_path=str(vae))
    assert run([*train, "--max_train_steps", "1"]).returncode == 0
    config = json.loads((vae / "config.json").read_text())
    (vae / "config.json").write_text(
        json.dumps(config | {"latents_std": [3.0 * std for std in config["latents_std"]]})
    )
    finished = run([*train, "--max_train_steps", "2", "--resume_from_checkpoint", "latest"])
    assert finished.returncode == 2
    assert "checkpoint-1 was trained on latents that other `latents_mean` and `latents_std` norm" in finished.stderr


def test_latents_that_are_not_complete_are_refused(material: Path, tmp_path: Path) -> None:
    record = json.loads((material / "train/latents.json").read_text())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/latents.json").write_text(json.dumps(record | {"rows": None}))
    finished = run(command(material, tmp_path / "out", "--dataset_name", str(tmp_path / "broken")))
    assert finished.returncode == 2
    assert "is not complete" in finished.stderr


def test_training_goes_on_from_a_pipeline(material: Path, tmp_path: Path) -> None:
    first = run(command(material, tmp_path / "first"))
    assert first.returncode == 0, first.stderr
    options = ("--pretrained_model_name_or_path", str(tmp_path / "first"), "--learning_rate", "1e-30")
    second = run(command(material, tmp_path / "second", *options))
    assert second.returncode == 0, second.stderr
    assert equal(denoiser_weights(tmp_path / "second"), denoiser_weights(tmp_path / "first"))
    assert "was trained on latents of a VAE" not in second.stderr
    torch.manual_seed(1)
    WaveformVAE(4, (5, 8), (1, 2), 4, 3, 1, RATE).save_pretrained(tmp_path / "vae")
    data = ["--dataset_name", str(REPO / "data/held_out"), "--output_dir", str(tmp_path / "train")]
    assert run([sys.executable, ENCODE, "--model", str(tmp_path / "vae"), *data]).returncode == 0
    of_another = run(
        command(tmp_path, tmp_path / "another", *options, validation_dataset_name=str(tmp_path / "train"))
    )
    assert of_another.returncode == 0, of_another.stderr
    assert "first was trained on latents of a VAE with other weights" in of_another.stderr
    other = run(command(material, tmp_path / "third", *options, label_column="source_package"))
    assert other.returncode == 2
    assert "differ in their classes: () and ('asterisk" in other.stderr


def test_bf16_and_gradient_checkpointing_train(material: Path, tmp_path: Path) -> None:
    finished = run(command(material, tmp_path / "out", mixed_precision="bf16", gradient_checkpointing=True))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "out/metrics.json").read_text())
    assert history[1]["denoising_loss"] < history[0]["denoising_loss"]


@pytest.mark.slow
def test_trackers_get_generated_sound(material: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    finished = run(command(material, tmp_path / "out", report_to="tensorboard"))
    assert finished.returncode == 0, finished.stderr
    (events,) = (tmp_path / "out/logs/hf-audio-vae").glob("events*")
    log = EventAccumulator(str(events))
    log.Reload()
    tags = log.Tags()
    assert {"loss", "loss_of_linear_guess", "validation/loss_ratio", "gradient_norm/transformer"} <= set(
        tags["scalars"]
    )
    assert set(tags["audio"]) == {"generated/0", "generated/1"}
    assert "generated/spectrograms" in tags["images"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_column": "label"}, "`text_column` and `text_encoder_name_or_path` go together"),
        ({"transformer": {"in_channels": 4}}, r"`transformer` has \['in_channels'\], which are derived"),
        ({"transformer": {"layers": 4}}, "StableAudioDiTModel has no argument layers"),
        ({"label_column": "kinds"}, "'kinds' is not a column of .*; its columns are"),
        ({"process": "ddpm"}, "process: Input should be 'rectified_flow' or 'v_prediction'"),
    ],
)
def test_what_does_not_fit_is_one_message_and_exit_code_2(
    material: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    finished = run(command(material, tmp_path / "out", **changes))
    assert finished.returncode == 2
    assert re.search(message, finished.stderr)
    assert "Traceback" not in finished.stderr
