"""How runs start and end: one line and a code for each."""

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from huggingface_hub import constants

from hf_audio_vae import WaveformVAE
from hf_audio_vae.files import exclusive
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.publishing import MODEL_FILES
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.loop import NonFiniteLossError
from hf_audio_vae.training.publishing import check_output_folder, publish
from hf_audio_vae.training.script import check_metrics, start_accelerator
from tests.hub import MockHub, mock_hub
from tests.training.runs import (
    REPO,
    TWO_PROCESSES,
    command,
    environment,
    equal,
    published_weights,
    run,
    run_processes,
    trained_weights,
    write_recipe,
)


def test_processes_that_do_not_end_fail_with_their_stacks(tmp_path: Path) -> None:
    script = tmp_path / "waits.py"
    script.write_text("import time\n\ndef stuck():\n    time.sleep(100)\n\nstuck()\n")
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, {str(script)!r}], start_new_session=True)"
    with pytest.raises(
        pytest.fail.Exception, match=r"1 processes ran for more than 3 s(?s:.*)waits.py\", line 4 in stuck"
    ):
        run_processes([sys.executable, "-c", launcher], timeout=3)


def refusal(recipe: Path, out: Path, *options: str) -> str:
    """The line of a run that ends before it opens its data."""
    finished = run(command(recipe, out, "--dataset_name", "/nowhere/at-all", *options))
    assert finished.returncode == 2
    (line,) = [line for line in finished.stderr.splitlines() if not line.startswith("INFO")]
    return line


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    with mock_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_mock")
        yield hub


def test_a_second_run_in_one_folder_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path / "out"):
        line = refusal(write_recipe(tmp_path), tmp_path / "out")
    assert f"{tmp_path}/out is in use by process {os.getpid()}" in line


def test_a_folder_that_cannot_be_written_is_refused_before_the_data_are_opened(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    assert f"{tmp_path}/out cannot be written: " in refusal(write_recipe(tmp_path), tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "recipe.yaml",
        "metrics.json",
        "config.json",
        "model.safetensors",
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "discriminator/config.json",
    ],
)
def test_a_run_replaces_no_file_of_another_origin(tmp_path: Path, name: str) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.touch()
    for options, rest in (((), ""), (("--resume_from_checkpoint", "latest"), ", and no checkpoint to resume from")):
        line = refusal(write_recipe(tmp_path), tmp_path / "out", *options)
        assert f"{tmp_path}/out holds {name.split('/')[0]}, which the run would replace{rest}; choose another" in line
    (tmp_path / "out/checkpoint-1").mkdir()
    line = refusal(write_recipe(tmp_path), tmp_path / "out", "--resume_from_checkpoint", "latest")
    assert ("would replace" in line) == (name != "recipe.yaml")  # which marks a folder that a run has published


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").symlink_to("nowhere")
    assert "out holds README.md, which the run would replace" in refusal(write_recipe(tmp_path), tmp_path / "out")


def test_a_resumed_run_replaces_its_own_files_after_a_kill_between_any_two_of_them(tmp_path: Path) -> None:
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path)), "--output_dir", "out"])
    config = config.model_copy(update={"output_dir": tmp_path / "out", "resume_from_checkpoint": "latest"})
    names = ["README.md", "config.json", "recipe.yaml", "metrics.json"]
    for killed_at in range(len(names) + 1):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out/checkpoint-1").mkdir(parents=True)
        moves = itertools.count()

        def move(source: Path, target: Path, *, moves=moves, killed_at=killed_at) -> None:
            if next(moves) == killed_at:
                raise KeyboardInterrupt
            Path(source).rename(target)

        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(os, "replace", move)
            publish(
                lambda folder, title: [(folder / name).touch() for name in names],
                config,
                [{"step": 1}],
                MODEL_FILES,
                tabulate=str,
            )
        assert len([path for path in (tmp_path / "out").iterdir() if path.is_file()]) == killed_at
        check_output_folder(config, MODEL_FILES)


def test_other_files_of_an_output_folder_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "out/logs").mkdir(parents=True)
    (tmp_path / "out/train.log").touch()
    assert "nowhere/at-all" in refusal(write_recipe(tmp_path), tmp_path / "out")


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    line = refusal(write_recipe(tmp_path, report_to="wandb"), tmp_path / "out")
    assert "`report_to` names 'wandb', which is not installed; install it, or use tensorboard" in line
    assert "none of" not in line


def test_a_hub_that_cannot_be_written_to_is_refused(tmp_path: Path, hub: MockHub, monkeypatch) -> None:
    recipe = write_recipe(tmp_path, push_to_hub=True, hub_model_id="someone/mine")
    hub.read_only = True
    assert "`push_to_hub`: someone/mine cannot be written to (" in refusal(recipe, tmp_path / "out")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    assert "log in with `hf auth login`" in refusal(recipe, tmp_path / "out")
    assert not hub.files.get("someone/mine")


@pytest.mark.slow
def test_a_run_is_pushed_to_a_private_repository(tmp_path: Path, hub: MockHub) -> None:
    recipe = write_recipe(tmp_path, push_to_hub=True, hub_private_repo=True)
    finished = run(command(recipe, tmp_path / "mine"))
    assert finished.returncode == 0, finished.stderr
    assert hub.private == {"someone/mine"}
    assert "# someone/mine" in hub.files["someone/mine"]["README.md"].decode()


@pytest.mark.slow
def test_a_failed_push_leaves_the_model_and_says_how_to_push_it(tmp_path: Path, hub: MockHub) -> None:
    hub.full = True
    finished = run(command(write_recipe(tmp_path, push_to_hub=True), tmp_path / "mine"))
    assert finished.returncode == 1
    line = finished.stderr.splitlines()[-1]
    assert f"{tmp_path}/mine holds the model but could not be pushed (" in line
    assert f'`hf upload someone/mine {tmp_path}/mine . --exclude "*checkpoint-*"' in line
    assert WaveformVAE.from_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine/checkpoint-8").is_dir()
    hub.full = False
    (pushing,) = re.findall(r"`(hf upload .+?)`", line)
    pushed = subprocess.run(
        [str(Path(sys.executable).parent / "hf"), *shlex.split(pushing)[1:]],
        env=os.environ | hub.environment(tmp_path / "home"),
        capture_output=True,
        text=True,
    )
    assert pushed.returncode == 0, pushed.stderr
    names = {"README.md", "config.json", "diffusion_pytorch_model.safetensors", "metrics.json", "recipe.yaml"}
    assert set(hub.files["someone/mine"]) == names


@pytest.mark.slow
def test_a_run_goes_on_after_its_data_and_its_folder_have_moved(tmp_path: Path) -> None:
    shutil.copytree(REPO / "data/train", tmp_path / "data")
    recipe = write_recipe(tmp_path, dataset_name=str(tmp_path / "data"), max_train_steps=8)
    straight = run(command(recipe, tmp_path / "straight"))
    assert straight.returncode == 0, straight.stderr
    assert run(command(recipe, tmp_path / "out", "--max_train_minutes", "1e-9")).returncode == 0
    first = run(command(recipe, tmp_path / "out", "--max_train_minutes", "1e-9", "--resume_from_checkpoint", "latest"))
    assert first.returncode == 0, first.stderr
    (tmp_path / "data").rename(tmp_path / "data elsewhere")
    (tmp_path / "out").rename(tmp_path / "out elsewhere")
    options = ("--dataset_name", f"{tmp_path}/./data elsewhere/", "--dataloader_num_workers", "2")
    checkpoint = str(tmp_path / "out elsewhere/../out elsewhere/checkpoint-2")
    resumed = run(command(recipe, tmp_path / "out elsewhere", *options, "--resume_from_checkpoint", checkpoint))
    assert resumed.returncode == 0, resumed.stderr
    assert equal(published_weights(tmp_path / "out elsewhere"), published_weights(tmp_path / "straight"))
    changed = ("--learning_rate", "1e-4", "--max_train_steps", "10", "--resume_from_checkpoint", "latest")
    refused = run(command(recipe, tmp_path / "out elsewhere", *options, *changed))
    assert refused.returncode == 2
    assert "made with other values of learning_rate; " in refused.stderr
    accepted = run(command(recipe, tmp_path / "out elsewhere", *options, *changed, "--accept_changes"))
    assert accepted.returncode == 0, accepted.stderr
    assert not equal(trained_weights(tmp_path / "out elsewhere", 10), trained_weights(tmp_path / "out elsewhere", 8))


def started_run(recipe: Path, out: Path, *options: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that has written a checkpoint."""
    process = subprocess.Popen(
        command(recipe, out, *options, launcher=launcher),
        env=environment(),
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("checkpoint-*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def steps(out: Path) -> list[int]:
    return sorted(int(path.name.split("-")[1]) for path in out.glob("checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), TWO_PROCESSES], ids=["one process", "two processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_a_checkpoint_and_its_code(
    tmp_path: Path, number: signal.Signals, launcher: tuple[str, ...]
) -> None:
    recipe = write_recipe(tmp_path, max_train_steps=10**6, checkpointing_steps=10**6, dataloader_num_workers=1)
    first = ("--checkpointing_steps", "2")
    process = started_run(recipe, tmp_path / "out", *first, launcher=launcher)
    before = steps(tmp_path / "out")[-1]
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    if not launcher:
        assert process.returncode == 128 + number
        assert "Traceback" not in error
    assert steps(tmp_path / "out")[-1] >= before
    last = steps(tmp_path / "out")[-1]
    assert f"{number.name} ended the run at step {last}; continue with `--resume_from_checkpoint latest`" in error
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_a_dead_worker_ends_a_run_with_its_cause_and_a_checkpoint(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, max_train_steps=10**6, checkpointing_steps=10**6, dataloader_num_workers=2)
    process = started_run(recipe, tmp_path / "out", "--checkpointing_steps", "3")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in error
    assert "error: a worker of the data loader (process" in error.splitlines()[-1]
    assert "ended with SIGKILL" in error.splitlines()[-1]
    assert len(steps(tmp_path / "out")) >= 1


@pytest.mark.slow
def test_a_full_disk_ends_a_run_with_one_line_and_the_older_checkpoint(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    assert run(command(recipe, tmp_path / "out", "--max_train_steps", "4")).returncode == 0
    arguments = command(recipe, tmp_path / "out", "--resume_from_checkpoint", "latest")
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *arguments]  # no file beyond 4 KiB
    finished = subprocess.run(limited, env=environment(), cwd=REPO, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert (
        "checkpoint-8 cannot be written: File too large. checkpoint-4 is complete: "
        in finished.stderr.splitlines()[-1]
    )
    assert steps(tmp_path / "out") == [4]
    assert not list((tmp_path / "out").glob(".*"))
    assert run(arguments).returncode == 0


@pytest.mark.slow
def test_logs_on_a_full_disk_end_a_run_without_a_traceback(tmp_path: Path) -> None:
    arguments = command(write_recipe(tmp_path, report_to="tensorboard"), tmp_path / "out")
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *arguments]
    finished = subprocess.run(limited, env=environment(), cwd=REPO, capture_output=True, text=True)
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr
    assert f"the logs in {tmp_path}/out cannot be written: File too large" in finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"dataloader_num_workers": 2}, {"max_train_samples": 1}])
def test_a_data_set_of_one_item_trains(tmp_path: Path, options: dict[str, int]) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(REPO / "data/train/bd_haus.flac", tmp_path / "data")
    recipe = write_recipe(tmp_path, dataset_name=str(tmp_path / "data"), max_train_steps=2, **options)
    assert run(command(recipe, tmp_path / "out")).returncode == 0


def test_a_crop_of_no_sample_is_one_line(tmp_path: Path) -> None:
    finished = run(command(write_recipe(tmp_path, segment_seconds=1e-9), tmp_path / "out"))
    assert finished.returncode == 2
    assert "`segment_seconds` is 1e-09, less than one sample at 8000 Hz; give 0.000125 or more." in finished.stderr


@pytest.mark.slow
def test_an_empty_data_set_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    finished = run(command(write_recipe(tmp_path, dataset_name=str(tmp_path / "data")), tmp_path / "out"))
    assert finished.returncode == 2
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_a_closed_pipe_ends_a_script_without_an_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    script = [sys.executable, REPO / "training/train_autoencoder.py", "--help"]
    finished = subprocess.run(script, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (finished.returncode, finished.stderr) == (128 + signal.SIGPIPE, "")


def test_a_warmup_beyond_the_end_and_validation_on_training_data_are_told_at_the_start(tmp_path: Path) -> None:
    data = str(REPO / "data/held_out")
    options = {"dataset_name": data + "/../held_out", "validation_dataset_name": data, "lr_warmup_steps": 2}
    finished = run(command(write_recipe(tmp_path, max_train_steps=1, **options), tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    start = finished.stderr.partition("wrote ")[0]
    assert "`lr_warmup_steps` is 2, more than the updates of a network, 1: the learning rate stays below" in start
    assert f"the validation data is the training data, {data}/../held_out: " in start


def test_processes_that_are_not_connected_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path)), "--output_dir", "out"])
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun on a CPU
    with pytest.raises(ValueError, match="2 processes were launched, but .* none .*set ACCELERATE_USE_CPU=true"):
        start_accelerator(config)


@pytest.mark.parametrize(("variable", "name"), [("FSDP", "FSDP"), ("DEEPSPEED", "DeepSpeed")])
def test_sharded_weights_are_refused(
    variable: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path)), "--output_dir", "out"])
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "true")  # as `accelerate launch --use_fsdp` sets it
    with pytest.raises(ValueError, match=f"set to {name}, which shards the weights, .*ddp.yaml"):
        start_accelerator(config)


def test_a_precision_without_effect_is_refused(tmp_path: Path) -> None:
    arguments = command(write_recipe(tmp_path, mixed_precision="fp16"), tmp_path / "out")
    # In a process of its own: accelerate keeps the precision of the first run in a process.
    finished = subprocess.run(arguments, capture_output=True, text=True, cwd=REPO, env=environment())
    assert finished.returncode == 2, finished.stderr
    assert "`mixed_precision` fp16 has no effect on a CPU; use bf16" in finished.stderr


def test_a_model_that_diverges_in_its_last_step_is_not_published(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, max_train_steps=1, learning_rate=1e30, lr_warmup_steps=0, ema_decay=0.0)
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 1
    assert "the model has diverged and is not published: " in finished.stderr
    assert not list((tmp_path / "out").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("history", "is_whole"),
    [
        ([{"mel": 1.0}, {"mel": 2.0}], True),
        ([{"mel": 1.0}, {"mel": float("nan")}], False),
        ([{"mel": float("nan")}], False),
        ([{"mel": float("inf")}, {"mel": float("inf")}], True),  # such a metric of silence, from the start
    ],
)
def test_metrics_that_became_not_finite_are_an_error(history: list[dict[str, float]], is_whole: bool) -> None:
    with contextlib.nullcontext() if is_whole else pytest.raises(NonFiniteLossError, match="diverged.*: mel of the"):
        check_metrics(history)
