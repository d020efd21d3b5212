"""Every block of `docs/how_to` runs, in the order of its page and cut short, and so do the files that it names."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from transformers import AutoModel, Trainer, TrainingArguments

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig, WaveformVQVAEFeatureExtractor
from hf_audio_vae.audio import read_audio, resample, write_audio
from hf_audio_vae.models import load_autoencoder
from tests.pipelines.parts import oobleck_vae, stable_audio

REPO = Path(__file__).parents[1]
PAGES = REPO / "docs/how_to"
SHORTER = {
    "max_steps=200": "max_steps=2",
    "range(300)": "range(2)",
    "num_inference_steps=50": "num_inference_steps=2",
    "audio_end_in_s=1.0": "audio_end_in_s=0.5",
}
JOB = REPO / "training/jobs/train_job.py"
SHORT = "--max_train_steps 2 --max_validation_samples 1 --train_batch_size 2 --dataloader_num_workers 0"


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)


def tiny_codec() -> WaveformVQVAE:
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": (4, 5), "hidden_size": 4}
    return WaveformVQVAE(WaveformVQVAEConfig(sampling_rate=16000, **sizes))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the project, and tiny models under the names of the pages."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(REPO / "data", folder / "data")
    vae = oobleck_vae()
    vae.save_pretrained(folder / "outputs/tuned-decoder")
    stable_audio(vae).save_pretrained(folder / "stabilityai/stable-audio-open-1.0")
    tiny_codec().save_pretrained(folder / "outputs/codec")
    WaveformVQVAEFeatureExtractor(sampling_rate=16000).save_pretrained(folder / "outputs/codec")
    sound = resample(*read_audio(folder / "data/held_out/speech_en_0890.flac"), 24000)
    write_audio(folder / "sound_24khz.wav", sound, 24000)
    return folder


def run_blocks(page: str, folder: Path) -> None:
    """Run the blocks of a page as one program; those of `sh` need GPUs or the Hub, and tests below check them."""
    program = ""
    for kind, block in re.findall(r"```(bash|python)\n(.*?)```", (PAGES / f"{page}.md").read_text(), flags=re.DOTALL):
        for long, short in SHORTER.items():
            block = block.replace(long, short)
        program += block if kind == "python" else ""
        if kind == "bash":
            program += f"import subprocess; subprocess.run({shlex.split(block)}, check=True)\n"
    finished = run([sys.executable, "-c", program], folder)
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"


def test_what_a_trainer_writes_is_loaded(tmp_path: Path) -> None:
    codec = tiny_codec()
    Trainer(codec, TrainingArguments(str(tmp_path / "run"), report_to="none")).save_model(tmp_path / "codec")
    loaded = load_autoencoder(tmp_path / "codec")
    assert loaded.arguments() == codec.arguments()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["datasets_map", "diffusers_pipelines", "export_and_streaming", "own_training_loop"])
def test_blocks_run_in_order(page: str, checkout: Path) -> None:
    run_blocks(page, checkout)


@pytest.mark.slow
def test_the_trainer_of_transformers_makes_a_codec(checkout: Path) -> None:
    run_blocks("transformers_trainer", checkout)
    assert AutoModel.from_pretrained(checkout / "outputs/trainer-codec").num_codebooks == 4


def test_accelerate_reads_the_configuration_of_several_gpus() -> None:
    path = REPO / "training/accelerate/ddp.yaml"
    config = load_config_from_file(str(path))
    assert (config.distributed_type, config.num_processes) == (DistributedType.MULTI_GPU, 2)
    (block,) = re.findall(r"```sh\n(.*?)```", (PAGES / "several_gpus.md").read_text(), flags=re.DOTALL)
    program, launch, *words = shlex.split(block.replace("\\\n", " "))
    assert (program, launch, words[1]) == ("accelerate", "launch", "training/accelerate/ddp.yaml")
    arguments = launch_command_parser().parse_args(["--config_file", str(path), *words[2:]])
    arguments, *_ = _validate_launch_command(arguments)
    assert (arguments.multi_gpu, arguments.num_processes, arguments.use_fsdp) == (True, 4, False)
    assert (arguments.module, arguments.training_script, arguments.training_script_args[0]) == (
        True,
        "hf_audio_vae",
        "train",
    )


def test_the_job_names_this_package_with_an_extra_that_it_has() -> None:
    (metadata,) = re.findall(r"^# /// script\n((?:#(?: .*)?\n)+)# ///$", JOB.read_text(), flags=re.MULTILINE)
    script = tomllib.loads("".join(line[2:] for line in metadata.splitlines(keepends=True)))
    setup = (REPO / "setup.cfg").read_text()
    assert script["requires-python"] == re.findall(r"python_requires = (.*)", setup)[0]
    (name, extra) = re.fullmatch(r"([\w-]+)\[(\w+)\]", *script["dependencies"]).groups()
    assert f"\nname = {name}\n" in setup
    assert f"\n{extra} =\n" in setup


def test_the_hub_accepts_the_command_of_a_job() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", (PAGES / "jobs.md").read_text(), flags=re.DOTALL)
    words = shlex.split(block.replace("\\\n", " "))
    assert words[:4] == ["hf", "jobs", "uv", "run"]
    finished = run([*words[:4], "--dry-run", *words[4:]], REPO)
    assert finished.returncode == 0, finished.stderr
    assert "Job not submitted" in finished.stdout + finished.stderr


def test_a_job_that_would_lose_its_model_is_refused(tmp_path: Path) -> None:
    finished = run([sys.executable, str(JOB), "data", "--recipe", "stft-vae-demo"], tmp_path)
    assert finished.returncode == 2
    assert "give --push_to_hub" in finished.stderr


@pytest.mark.slow
def test_the_job_trains(checkout: Path) -> None:
    options = (
        f"data/train --recipe stft-vae-demo --output_dir job --push_to_hub false --validation_seconds 0.5 {SHORT}"
    )
    finished = run([sys.executable, str(JOB), *options.split()], checkout)
    assert finished.returncode == 0, finished.stderr
    assert (checkout / "job/config.json").exists()
