"""A wheel has every file of the package."""

import configparser
from fnmatch import fnmatch
from pathlib import Path

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "src/hf_audio_vae"


def test_every_file_that_is_no_module_is_package_data() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPO / "setup.cfg")
    patterns = [pattern.strip() for pattern in setup["options.package_data"]["hf_audio_vae"].split(",")]
    others = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    left_out = [path for path in others if not any(fnmatch(str(path.relative_to(PACKAGE)), one) for one in patterns)]
    assert others and not left_out
    for pattern in patterns:
        assert any(fnmatch(str(path.relative_to(PACKAGE)), pattern) for path in others), f"{pattern} matches no file"
