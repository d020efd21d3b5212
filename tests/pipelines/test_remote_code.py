"""A reader without the package hears what its writer heard."""

import ast
import configparser
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import ModelMixin, StableAudioPipeline

from hf_audio_vae import WaveformVAE, __version__
from hf_audio_vae.models import FAMILIES, load_autoencoder
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck
from hf_audio_vae.pipelines import write_vae_shim
from hf_audio_vae.pipelines.remote_code import LEFT_OUT, self_contained_source
from tests.hub import mock_hub
from tests.models.contract import assert_equal_within_rounding
from tests.pipelines.parts import RATE, causal_vae, oobleck_vae, sound, stable_audio
from tests.pipelines.reader import generate, load, read_elsewhere

ARGUMENTS = {"initial_audio_waveforms": sound(0.64), "initial_audio_sampling_rate": RATE}


@pytest.fixture(autouse=True)
def seeded_weights() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def pipeline() -> StableAudioPipeline:
    return stable_audio(causal_vae())


@pytest.fixture
def saved(pipeline: StableAudioPipeline, tmp_path: Path) -> Path:
    pipeline.save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


@pytest.mark.slow
@pytest.mark.parametrize("with_package", [False, True], ids=["without-the-package", "with-the-package"])
def test_a_reader_of_the_folder_hears_the_same(with_package: bool, pipeline, saved: Path, tmp_path: Path):
    write_vae_shim(saved)
    reader = read_elsewhere(saved, tmp_path, ARGUMENTS, with_package=with_package, trust_remote_code=True)
    assert reader.returncode == 0, reader.stderr
    assert_equal_within_rounding(torch.load(tmp_path / "audio.pt"), generate(pipeline, **ARGUMENTS))


@pytest.mark.slow
def test_a_reader_without_the_package_hears_the_same_from_the_hub(pipeline, saved: Path, tmp_path: Path):
    write_vae_shim(saved)
    with mock_hub() as hub:
        hub.add("someone/pipeline", saved)
        environment = hub.environment(tmp_path / "home")
        name, options = "someone/pipeline", {"with_package": False, "hub": environment}
        reader = read_elsewhere(name, tmp_path, ARGUMENTS, trust_remote_code=True, **options)
    assert reader.returncode == 0, reader.stderr
    assert_equal_within_rounding(torch.load(tmp_path / "audio.pt"), generate(pipeline, **ARGUMENTS))


@pytest.mark.slow
def test_without_a_shim_a_reader_without_the_package_is_refused(saved: Path, tmp_path: Path):
    reader = read_elsewhere(saved, tmp_path, ARGUMENTS, with_package=False, trust_remote_code=True)
    assert reader.returncode
    assert "hf_audio_vae is not one of the libraries" in reader.stderr


def test_a_reader_with_the_package_can_do_without_the_shim(pipeline, saved: Path, tmp_path: Path):
    write_vae_shim(saved)
    vae = load_autoencoder(saved, subfolder="vae")
    read = load(saved, vae=None)
    read.register_modules(vae=vae)
    assert type(read.vae) is WaveformVAE
    assert torch.equal(generate(read, **ARGUMENTS), generate(pipeline, **ARGUMENTS))
    read.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again/model_index.json").read_text())["vae"] == ["hf_audio_vae", "WaveformVAE"]


def test_the_index_names_the_shim_and_is_otherwise_as_it_was(saved: Path):
    before = json.loads((saved / "model_index.json").read_text())
    path = write_vae_shim(saved)
    assert path == saved / "vae/vae_shim.py"
    first = path.read_text()
    assert json.loads((saved / "model_index.json").read_text()) == before | {"vae": ["vae_shim", "WaveformVAE"]}
    assert write_vae_shim(saved).read_text() == first


def test_the_shim_needs_nothing_of_the_package(saved: Path):
    path = write_vae_shim(saved)
    imports = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    modules += ["." * node.level + (node.module or "") for node in imports if isinstance(node, ast.ImportFrom)]
    assert {"math", "torch", "diffusers"} <= set(modules)
    own = {module for module in modules if module.startswith(("hf_audio_vae", "."))}
    assert own <= set(LEFT_OUT)  # in functions that do without them, or say that they cannot
    top = [node.module for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
    assert not own & set(top)
    # Names that nothing defines and imports that nothing uses would be left over from, or lost with, a module.
    rules = ["--isolated", "--select=E9,F", "--target-version=py311"]
    ruff = subprocess.run([sys.executable, "-m", "ruff", "check", *rules, str(path)], capture_output=True, text=True)
    assert ruff.returncode == 0, ruff.stdout + ruff.stderr


def test_the_shim_says_what_it_is(saved: Path):
    header = write_vae_shim(saved).read_text().partition("\n\n")[0]
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    assert all(line.startswith("# ") for line in header.splitlines())
    license = setup["metadata"]["license"].partition(" AND ")[0]  # of the code; that of other weights follows
    for part in ("WaveformVAE", f"hf-audio-vae {__version__} ", f"SPDX-License-Identifier: {license}"):
        assert part in header


@pytest.mark.parametrize("missing", ["model_index.json", "vae/config.json"])
def test_a_folder_without_pipeline_or_vae_is_refused(missing: str, saved: Path):
    (saved / missing).unlink()
    with pytest.raises(ValueError, match=f"{missing} is missing; give a folder that a pipeline was saved to"):
        write_vae_shim(saved)


def test_a_pipeline_that_has_no_vae_is_refused(saved: Path):
    index = json.loads((saved / "model_index.json").read_text())
    del index["vae"]
    (saved / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="names no `vae`, only .*'transformer'.*; give a pipeline that has one"):
        write_vae_shim(saved)
    assert not (saved / "vae/vae_shim.py").exists()


def test_a_vae_that_diffusers_knows_is_refused(tmp_path: Path):
    stable_audio(to_oobleck(oobleck_vae())).save_pretrained(tmp_path)
    index = (tmp_path / "model_index.json").read_text()
    families = r"\['STFTVAE', 'SpectrogramVAE', 'WaveformVAE'\]"
    with pytest.raises(ValueError, match=rf"holds a AutoencoderOobleck, which is none of {families}"):
        write_vae_shim(tmp_path)
    assert (tmp_path / "model_index.json").read_text() == index
    assert not (tmp_path / "vae/vae_shim.py").exists()


@pytest.mark.parametrize("family", [name for name, kind in FAMILIES.items() if issubclass(kind, ModelMixin)])
def test_the_source_of_every_family_fits_into_one_file(family: str):
    assert f"class {family}(" in self_contained_source(FAMILIES[family].__module__)


FIRST = '''"""One module."""

import math
from torch import Tensor

# A reason.
HALF = 0.5


def _half(x: Tensor) -> Tensor:
    return HALF * x
'''
SECOND = """import math as m
from torch import Tensor, nn

from {package}.first import _half


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _half(x) * m.pi
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package in which `second` imports from `first`; its name is another in each test, for modules are kept."""
    name = tmp_path.name
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    (tmp_path / name / "first.py").write_text(FIRST)
    (tmp_path / name / "second.py").write_text(SECOND.format(package=name))
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_modules_are_concatenated_in_the_order_of_their_dependence(package: str):
    assert (
        self_contained_source(f"{package}.second")
        == f"""import math
import math as m

from torch import Tensor, nn

# {package}.first
# One module.


# A reason.
HALF = 0.5


def _half(x: Tensor) -> Tensor:
    return HALF * x


# {package}.second


class Model(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _half(x) * m.pi
"""
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("HALF = 0.25", "`HALF` in .*second is defined in .*second, elsewhere defined in .*first; rename"),
        ("def _half(): pass", "`_half` in .*second is defined in .*second, elsewhere defined in .*first; rename"),
        ("class math: pass", "`math` in .*second is defined in .*second, elsewhere import math; rename"),
        ("import torch as math", "`math` in .*second is import torch as math, elsewhere import math; rename"),
        ("from numpy import half as HALF", "`HALF` .* is from numpy import half as HALF, elsewhere defined in"),
        (
            "if nn:\n    import cmath as math",
            "`math` in .*second is defined in .*second, elsewhere import math; rename",
        ),
        ("def abs(x): return x", "`abs` in .*second is defined in .*second, elsewhere a builtin; rename"),
        ("from {package}.first import HALF as H", "HALF as H`; import names .* do not rename them"),
        ("from .first import HALF", r"from .first import HALF`; import names from the full name"),
        ("import {package}.first", r"`import .*first`; import names"),
        ("def f():\n    from {package}.first import HALF", "import HALF`; .* at the top"),
        ("from {package}.first import Tensor", "import Tensor`; import it from the module that defines it"),
    ],
)
def test_what_would_change_its_meaning_in_one_file_is_refused(line: str, message: str, package: str, tmp_path: Path):
    with (tmp_path / package / "second.py").open("a") as second:
        second.write("\n" + line.format(package=package) + "\n")
    with pytest.raises(ValueError, match=message):
        self_contained_source(f"{package}.second")
