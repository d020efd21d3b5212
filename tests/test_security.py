"""Nothing that is loaded can run code: read off the source itself."""

import ast
import json
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.pipelines import Prior
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from tests.pipelines.latent_parts import latent_diffusion

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "src/hf_audio_vae"
SCRIPTS = [*(REPO / "training").glob("*.py")]
FILES = sorted([*PACKAGE.rglob("*.py"), *SCRIPTS])
RUN_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "runpy"}
FETCH = {"urllib.request", "http.client", "requests", "httpx", "aiohttp", "ftplib", "socket"}
LISTENERS = {"cli/studio.py": {"socket"}}  # asks whether its own address is free
BUILTINS = {"eval", "exec", "compile", "__import__"}
# Files that import a module by a name, which is in their own source.
IMPORTERS = {
    "__init__.py",
    "registration.py",
    "cli/main.py",
    "models/exporting.py",
    "pipelines/remote_code.py",
    "training/tracking.py",
}
READS_PICKLES = {"models/torch_files.py"}  # of other libraries, without code


def calls(path: Path) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """The called names of a file, and the arguments that are given by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}


def is_constant(value: ast.expr | None, expected: bool) -> bool:
    return isinstance(value, ast.Constant) and value.value is expected


def of_package(path: Path) -> str:
    return str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name


@pytest.mark.parametrize("path", FILES, ids=of_package)
def test_no_file_runs_what_it_reads(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not {name.partition(".")[0] for name in imported} & RUN_CODE or of_package(path) in READS_PICKLES
    fetching = imported & FETCH - LISTENERS.get(of_package(path), set())
    assert not fetching, "only Hugging Face's libraries fetch, and only what the user names"
    for name, options in calls(path):
        last = name.rpartition(".")[2]
        assert name not in BUILTINS, name
        assert name not in ("os.system", "os.popen"), name
        assert "shell" not in options, "a command is a list of arguments"
        assert "allow_pickle" not in options
        if last in ("import_module", "find_spec"):
            assert of_package(path) in {*IMPORTERS, "audio/io.py", "data/folders.py"}, (
                "no file is imported by a name that was read"
            )
        if name == "torch.load":
            assert of_package(path) in READS_PICKLES
            assert is_constant(options.get("weights_only"), True)
        if name.startswith("yaml.") and "load" in last:
            assert last == "safe_load"
        assert is_constant(options.get("trust_remote_code", ast.Constant(False)), False)
        if last == "from_pretrained" and name.startswith("Auto"):
            assert is_constant(options.get("trust_remote_code"), False), "transformers would ask on the terminal"


def test_the_walk_sees_calls() -> None:
    names = {name for path in FILES for name, _ in calls(path)}
    assert {"torch.load", "yaml.safe_load", "subprocess.run", "importlib.import_module"} <= names


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("exploded"),)


def test_a_language_model_is_not_read_from_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = CodeTokens((4,))
    size = {"n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 1}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=tokens.vocab_size, **size))
    model.save_pretrained(tmp_path / "prior")
    save_tokens(tmp_path / "prior", tokens, CodesInfo("m", "0", (), (100.0,), 8))
    (tmp_path / "prior/model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "prior/pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        Prior.from_pretrained(tmp_path / "prior")
    (tmp_path / "prior/pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(OSError, match="safetensors"):
        Prior.from_pretrained(tmp_path / "prior")
    assert not Path("exploded").exists()


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    latent_diffusion().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("component", ["vae", "transformer", "text_encoder"])
def test_a_pipeline_imports_no_module_that_its_index_names(
    component: str, pipeline_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pipeline_folder, tmp_path / "pipeline")
    (tmp_path / "planted.py").write_text("from pathlib import Path; Path('exploded').touch()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    index = tmp_path / "pipeline/model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {component: ["planted", "Model"]}))
    with pytest.raises(ValueError, match=f"has a `{component}` of the library 'planted'"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    assert not Path("exploded").exists()


def test_the_components_of_a_pipeline_are_not_read_from_pickles(pipeline_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(pipeline_folder, tmp_path / "pipeline")
    weights = tmp_path / "pipeline/transformer/diffusion_pytorch_model.safetensors"
    weights.unlink()
    weights.with_suffix(".bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(OSError, match="safetensors"):
        AudioLatentDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
