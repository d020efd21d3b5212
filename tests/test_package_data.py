"""A wheel has every file of the package."""

import ast
from fnmatch import fnmatch
from pathlib import Path

REPO = Path(__file__).parents[1]
PACKAGE = REPO / "src/hf_audio_vae"


def test_every_file_that_is_no_module_is_package_data() -> None:
    data = next(
        ast.literal_eval(pair[1])
        for node in ast.walk(ast.parse((REPO / "setup.py").read_text()))
        if isinstance(node, ast.keyword) and node.arg == "package_data" and isinstance(node.value, ast.Dict)
        for pair in zip(node.value.keys, node.value.values, strict=True)
        if ast.unparse(pair[0]) == "'hf_audio_vae'"
    )
    patterns = [str(pattern) for pattern in data]
    others = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    left_out = [path for path in others if not any(fnmatch(str(path.relative_to(PACKAGE)), one) for one in patterns)]
    assert others and not left_out
    for pattern in patterns:
        assert any(fnmatch(str(path.relative_to(PACKAGE)), pattern) for path in others), f"{pattern} matches no file"
