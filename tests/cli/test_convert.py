"""The verb `convert`, on a small random model in each of the formats."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderOobleck
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoFeatureExtractor

from hf_audio_vae import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    SpectrogramVAE,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
)
from hf_audio_vae.cli.main import main
from hf_audio_vae.models.spectrogram_vae.convert_ltx2_audio import from_ltx2_audio
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools import (
    load_stable_audio_tools,
    save_stable_audio_tools,
)
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck
from hf_audio_vae.models.waveform_vqvae.convert_dac import to_dac

FORMATS = ("hf_audio_vae", "oobleck", "stable-audio-tools")
LOADERS = {
    "hf_audio_vae": WaveformVAE.from_pretrained,
    "oobleck": AutoencoderOobleck.from_pretrained,
    "stable-audio-tools": load_stable_audio_tools,
}


def model_of(**changes: object) -> WaveformVAE:
    arguments = {
        "encoder_hidden_size": 8,
        "downsampling_ratios": (2, 4),
        "channel_multiples": (1, 2),
        "decoder_channels": 6,
        "decoder_input_channels": 4,
        "audio_channels": 1,
        "sampling_rate": 16000,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveformVAE(**{**arguments, **changes})
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in every format, and what is refused."""
    root = tmp_path_factory.mktemp("models")
    model_of().save_pretrained(root / "hf_audio_vae")
    to_oobleck(model_of()).save_pretrained(root / "oobleck")
    save_stable_audio_tools(model_of(), root / "stable-audio-tools")
    model_of(causal=True).save_pretrained(root / "causal")
    model_of(downsampling_ratios=(2, 5)).save_pretrained(root / "odd")
    AutoencoderOobleck(6, [2, 4], [1, 2], 6, 4, 1, 16000).save_pretrained(root / "narrow")
    for name in ("tanh", "bare"):
        shutil.copytree(root / "stable-audio-tools", root / name)
    edit_config(root / "tanh/model_config.json", decoder={"final_tanh": True})
    (root / "bare/model_config.json").unlink()
    return {path.name: path for path in root.iterdir()}


def edit_config(path: Path, **changes: Mapping[str, object]) -> None:
    config = json.loads(path.read_text())
    for side, values in changes.items():
        config["model"][side]["config"].update(values)
    path.write_text(json.dumps(config))


def weights_of(folder: Path, format_name: str) -> dict[str, Tensor]:
    return LOADERS[format_name](folder).state_dict()


def assert_same_weights(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in actual.items())


@pytest.mark.parametrize(("source", "target"), [(a, b) for a in FORMATS for b in FORMATS if a != b])
def test_every_format_becomes_every_other_with_equal_weights(
    source: str, target: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.joinpath("empty").mkdir()
    for destination in (tmp_path / "new/folder", tmp_path / "empty"):
        assert main(["convert", str(folders[source]), str(destination), "--from", source, "--to", target]) == 0
        assert_same_weights(weights_of(destination, target), model_of().state_dict())
        assert LOADERS[target](destination).config["sampling_rate"] == 16000
        assert f"{destination}: {target}, 0.0 M parameters, 16000 Hz" in capsys.readouterr().out


def test_checkpoint_files_are_read_and_written(folders: dict[str, Path], tmp_path: Path) -> None:
    written = tmp_path / "vae.ckpt"
    assert main(["convert", str(folders["oobleck"]), str(written), "--from", "oobleck", "--to", FORMATS[2]]) == 0
    (tmp_path / "model_config.json").rename(tmp_path / "other.json")
    options = ["--config", str(tmp_path / "other.json"), "--from", FORMATS[2], "--to", FORMATS[0]]
    assert main(["convert", str(written), str(tmp_path / "back"), *options]) == 0
    assert_same_weights(weights_of(tmp_path / "back", FORMATS[0]), model_of().state_dict())


def test_a_model_comes_back_in_the_format_that_was_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    assert main(["convert", str(folders["oobleck"]), first, "--from", "oobleck", "--to", "hf_audio_vae"]) == 0
    assert json.loads(Path(first, "config.json").read_text())["_class_name"] == "WaveformVAE"
    assert main(["convert", first, second, "--from", "hf_audio_vae", "--to", "oobleck"]) == 0
    assert_same_weights(weights_of(Path(second), "oobleck"), model_of().state_dict())


def test_a_component_of_a_pipeline_is_named_by_its_subfolder(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["oobleck"], tmp_path / "pipeline/vae")
    options = ["--subfolder", "vae", "--from", "oobleck", "--to", "hf_audio_vae"]
    assert main(["convert", str(tmp_path / "pipeline"), str(tmp_path / "new"), *options]) == 0
    assert_same_weights(weights_of(tmp_path / "new", "hf_audio_vae"), model_of().state_dict())


def test_statistics_are_kept_where_there_is_a_place_for_them(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "diffusion"
    shutil.copytree(folders["stable-audio-tools"], source)
    config = json.loads((source / "model_config.json").read_text())
    config["model"] = {"pretransform": {"type": "autoencoder", "scale": 1.5, "config": config["model"]}}
    (source / "model_config.json").write_text(json.dumps(config | {"model_type": "diffusion_cond"}))
    for target, warns in (("hf_audio_vae", False), ("oobleck", True)):
        assert main(["convert", str(source), str(tmp_path / target), "--from", FORMATS[2], "--to", target]) == 0
        assert ("`latents_mean` and `latents_std` are left out" in caplog.text) == warns
    assert WaveformVAE.from_pretrained(tmp_path / "hf_audio_vae").config.latents_std == [1.5] * 4


@pytest.mark.parametrize(
    ("source", "formats", "options", "message"),
    [
        ("oobleck", "oobleck oobleck", [], "--from and --to are both oobleck"),
        ("oobleck", "oobleck hf_audio_vae", ["--config", "c.json"], "--config has no effect with --from oobleck"),
        ("stable-audio-tools", "stable-audio-tools oobleck", ["--subfolder", "vae"], "--subfolder has no effect"),
        ("stable-audio-tools", "stable-audio-tools oobleck", ["--revision", "main"], "--revision has no effect"),
        ("/nowhere", "hf_audio_vae oobleck", [], "no model can be loaded from '/nowhere'"),
        ("/nowhere", "oobleck hf_audio_vae", [], "no model can be loaded from '/nowhere'"),
        (
            "/nowhere",
            "stable-audio-tools oobleck",
            [],
            "/nowhere is neither a file nor a folder with model.safetensors",
        ),
        ("hf_audio_vae", "oobleck stable-audio-tools", [], "holds WaveformVAE, not AutoencoderOobleck"),
        ("oobleck", "hf_audio_vae stable-audio-tools", [], "holds AutoencoderOobleck, not HierarchicalVQVAE or"),
        ("narrow", "oobleck hf_audio_vae", [], "`encoder_hidden_size` of 6, so that it encodes to 3 latent channels"),
        ("causal", "hf_audio_vae oobleck", [], "`causal=True` cannot be written as an AutoencoderOobleck"),
        ("odd", "hf_audio_vae stable-audio-tools", [], "odd strides [5] cannot be written as a stable-audio-tools"),
        ("tanh", "stable-audio-tools hf_audio_vae", [], "`decoder.config.final_tanh` is True"),
        ("bare", "stable-audio-tools hf_audio_vae", [], "model_config.json for the checkpoint"),
        ("oobleck", "dac hf_audio_vae", [], "holds AutoencoderOobleck, not DacModel"),
        ("oobleck", "encodec hf_audio_vae", [], "holds AutoencoderOobleck, not EncodecModel"),
        ("oobleck", "oobleck dac", [], "is a WaveformVAE, and dac supports only WaveformVQVAE models"),
        ("oobleck", "oobleck jukebox", [], "is a WaveformVAE, and jukebox supports only HierarchicalVQVAE models"),
        ("/nowhere", "jukebox hf_audio_vae", [], "there is no file /nowhere"),
        ("/nowhere", "dac hf_audio_vae", [], "no model can be loaded from '/nowhere'"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    source: str,
    formats: str,
    options: list[str],
    message: str,
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source_format, target_format = formats.split()
    directions = ["--from", source_format, "--to", target_format]
    assert main(["convert", str(folders.get(source, source)), str(tmp_path / "new"), *directions, *options]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae convert: ")]
    assert message in error
    assert not (tmp_path / "new").exists()


DAC_LIKE = {
    "encoder_hidden_size": 2,
    "decoder_hidden_size": 8,
    "downsampling_ratios": (2, 4),
    "hidden_size": 8,
    "codebook_size": 16,
    "codebook_dim": 2,
    "sampling_rate": 16000,
}
ENCODEC_LIKE = {
    "encoder_hidden_size": 32,
    "decoder_hidden_size": 512,
    "downsampling_ratios": (2, 4, 5, 8),
    "hidden_size": 128,
    "activation": "elu",
    "encoder_last_kernel_size": 7,
    "residual_kernel_size": 3,
    "residual_dilations": (1,),
    "residual_compression": 2,
    "residual_shortcut": True,
    "causal": True,
    "pad_mode": "reflect",
    "num_lstm_layers": 2,
    "final_tanh": False,
    "num_codebooks": 32,
    "codebook_dim": None,
    "cosine": False,
    "codebook_learning": "ema",
    "sampling_rate": 24000,
}
CODECS = {
    "dac": (WaveformVQVAE, WaveformVQVAEConfig(**DAC_LIKE), "w.pth", "DacModel"),
    "encodec": (WaveformVQVAE, WaveformVQVAEConfig(**ENCODEC_LIKE), "encodec_24khz-w.th", "EncodecModel"),
    "jukebox": (
        HierarchicalVQVAE,
        HierarchicalVQVAEConfig(width=4, hidden_size=4, codebook_size=8),
        "w.pth.tar",
        None,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CODECS)
def test_codecs_go_to_files_and_folders_of_their_libraries_and_come_back(name: str, tmp_path: Path) -> None:
    model_class, config, file_name, their_class = CODECS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config).eval()
        for quantizer in (module for module in model.modules() if hasattr(module, "sums")):
            quantizer.updates.fill_(1)  # as if it had been trained
            quantizer.sums.copy_(quantizer.vectors * quantizer.counts[:, None])
    model.save_pretrained(tmp_path / "own")
    x = 0.1 * torch.randn(1, 1, 2 * model.hop_length, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x).audio_values
    for place in (file_name, "theirs") if their_class else (file_name,):
        there = ["--from", "hf_audio_vae", "--to", name]
        assert main(["convert", str(tmp_path / "own"), str(tmp_path / place), *there]) == 0
        back = ["--from", name, "--to", "hf_audio_vae"]
        assert main(["convert", str(tmp_path / place), str(tmp_path / f"{place}-back"), *back]) == 0
        with torch.no_grad():
            again = model_class.from_pretrained(tmp_path / f"{place}-back")(x).audio_values
        extractor = AutoFeatureExtractor.from_pretrained(tmp_path / f"{place}-back")
        assert extractor.sampling_rate == model.sampling_rate
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
    if their_class:
        assert json.loads((tmp_path / "theirs/config.json").read_text())["architectures"] == [their_class]


def test_a_codec_without_exactly_its_weights_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to_dac(WaveformVQVAE(WaveformVQVAEConfig(**DAC_LIKE))).save_pretrained(tmp_path / "dac")
    file = tmp_path / "dac/model.safetensors"
    weights = load_file(file)
    key, value = next((key, value) for key, value in weights.items() if key.endswith("bias"))
    for changed, message in (
        ({other: weights[other] for other in weights.keys() - {key}}, f"1 missing: {key}"),
        (weights | {"other": torch.zeros(1)}, "1 unknown: other"),
        (weights | {key: torch.zeros(77)}, f"1 different: {key}"),
        (weights | {key: value / 0}, "has NaN or infinite values"),
    ):
        save_file(changed, file, metadata={"format": "pt"})
        capsys.readouterr()
        directions = ["--from", "dac", "--to", "hf_audio_vae"]
        assert main(["convert", str(file.parent), str(tmp_path / "new"), *directions]) == 2
        (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae convert: ")]
        assert message in error
        assert not (tmp_path / "new").exists()


def test_no_format_hides_a_weight_that_is_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = model_of()
    with torch.no_grad():
        model.decoder.conv1.bias.fill_(torch.nan)
    to_oobleck(model).save_pretrained(tmp_path / "oobleck")
    save_stable_audio_tools(model, tmp_path / "stable-audio-tools")
    for name in ("oobleck", "stable-audio-tools"):
        directions = ["--from", name, "--to", "hf_audio_vae"]
        assert main(["convert", str(tmp_path / name), str(tmp_path / "new"), *directions]) == 2
        assert "`decoder.conv1.bias` has NaN or infinite values" in capsys.readouterr().err


@pytest.mark.parametrize("destination", ["taken", "taken/file"])
def test_a_destination_that_holds_something_is_refused(
    destination: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    directions = ["--from", "oobleck", "--to", "hf_audio_vae"]
    assert main(["convert", str(folders["oobleck"]), str(tmp_path / destination), *directions]) == 2
    assert f"{destination} exists and is not empty" in capsys.readouterr().err
    assert (tmp_path / "taken/file").read_text() == "mine"


def test_the_audio_autoencoder_of_ltx2_is_read_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKLLTX2Audio(8, ch_mult=(1, 2), num_res_blocks=1, latent_channels=2, mel_bins=8)
    vae.save_pretrained(tmp_path / "theirs")
    ours, again = tmp_path / "ours", tmp_path / "again"
    assert main(["convert", str(tmp_path / "theirs"), str(ours), "--from", "ltx2-audio", "--to", "hf_audio_vae"]) == 0
    assert_same_weights(SpectrogramVAE.from_pretrained(ours).state_dict(), from_ltx2_audio(vae).state_dict())
    assert main(["convert", str(ours), str(again), "--from", "hf_audio_vae", "--to", "ltx2-audio"]) == 0
    assert_same_weights(AutoencoderKLLTX2Audio.from_pretrained(again).state_dict(), vae.state_dict())
    assert main(["convert", str(ours), str(tmp_path / "x"), "--from", "ltx2-audio", "--to", "hf_audio_vae"]) != 0
    assert "holds SpectrogramVAE, not AutoencoderKLLTX2Audio" in capsys.readouterr().err


def test_a_dangling_link_is_no_destination(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    directions = ["--from", "oobleck", "--to", "stable-audio-tools"]
    assert main(["convert", str(folders["oobleck"]), str(tmp_path / "link"), *directions]) == 2
    assert "link exists and is not empty; name another destination" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["hf_audio_vae", "stable-audio-tools"])
@pytest.mark.parametrize("below", ["x", "x/y.safetensors"])
def test_a_destination_below_a_file_is_named(
    below: str, target: str, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    directions = ["--from", "oobleck", "--to", target]
    assert main(["convert", str(folders["oobleck"]), str(tmp_path / "file" / below), *directions]) == 2
    assert capsys.readouterr().err.endswith(f"cannot be written: {tmp_path / 'file'} is a file; name a folder\n")


@pytest.mark.parametrize("option", [("--torch_dtype", "float16"), ("--variant", "fp16")])
@pytest.mark.parametrize("source", ["stable-audio-tools", "dac", "encodec", "jukebox", "ltx2-audio", "mmaudio"])
def test_an_option_that_a_format_does_not_read_is_refused(
    source: str, option: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(tmp_path / "theirs"), str(tmp_path / "ours"), "--from", source, "--to", "hf_audio_vae"]
    assert main(["convert", *names, *option]) == 2
    assert f"{option[0]} has no effect with --from {source}; leave it out." in capsys.readouterr().err


def test_the_weights_are_written_in_the_dtype_that_is_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    for source, target in (("hf_audio_vae", "oobleck"), ("oobleck", "hf_audio_vae")):
        options = ["--from", source, "--to", target, "--torch_dtype", "float16"]
        assert main(["convert", str(folders[source]), str(tmp_path / target), *options]) == 0
        (file,) = (tmp_path / target).glob("*.safetensors")
        assert {value.dtype for value in load_file(file).values()} == {torch.float16}
