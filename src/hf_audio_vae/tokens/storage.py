"""The file in a language model's folder that describes its tokens and the codes they represent."""

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

from hf_audio_vae.files import replacing
from hf_audio_vae.files.fingerprints import config_fingerprint, values_fingerprint
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.files.location import check_no_checkpoint, check_revision, existing, model_location
from hf_audio_vae.tokens.code_tokens import CodeTokens
from hf_audio_vae.tokens.scores import TOKENIZER_FILE, ScoreTokenizer
from hf_audio_vae.tokens.upsampling_tokens import UpsamplingTokens

FORMAT = "hf_audio_vae.code_tokens.v1"
TOKENS_FILE, CONFIG_FILE = "code_tokens.json", "config.json"
CHECKSUMS = "sha256"  # key of the fingerprints of the tokens, and of the configuration of the language model
AUTOENCODER = ("model", "weights", "subfolder", "revision")  # the model may move, and its weights are checked
KINDS: dict[str, type[CodeTokens] | type[UpsamplingTokens]] = {"codes": CodeTokens, "upsampling": UpsamplingTokens}


@dataclass(frozen=True)
class CodesInfo:
    """Origin of the codes of a prior.

    Args:
        model (`str`): Absolute path or Hub id of the autoencoder that encoded the codes.
        weights (`str`): Fingerprint of that model.
        levels (`tuple[int, ...]`): Modelled levels of a hierarchy, coarse to fine; empty without levels.
        frame_rates (`tuple[float, ...]`): Frames per second of each part: one, or coarse and fine level.
        segment_units (`int`): Length of the training crops in units of the tokens. A unit is a frame, or for
            upsampling the shortest segment with whole frames of both levels.
        subfolder (`str`, *optional*): Subfolder of the autoencoder in its Hub repository.
        revision (`str`, *optional*): Revision of the autoencoder.
    """

    model: str
    weights: str
    levels: tuple[int, ...]
    frame_rates: tuple[float, ...]
    segment_units: int
    subfolder: str | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.segment_units < 1 or not self.frame_rates or not all(0 < rate < math.inf for rate in self.frame_rates):
            raise ValueError(
                f"`segment_units` is {self.segment_units} and `frame_rates` {self.frame_rates}; give positive numbers"
            )


def holds_tokens(pretrained_model_name_or_path: str | Path, *, revision: str | None = None) -> bool:
    """Whether a folder, or a repository on the Hub or in its cache, contains a language model of codes."""
    return _holds(pretrained_model_name_or_path, TOKENS_FILE, revision)


def holds_scores(pretrained_model_name_or_path: str | Path, *, revision: str | None = None) -> bool:
    """Whether the codes of a language model, in a folder or on the Hub, are those of scores."""
    return _holds(pretrained_model_name_or_path, TOKENIZER_FILE, revision)


def load_score_tokenizer(
    pretrained_model_name_or_path: str | Path, *, revision: str | None = None
) -> ScoreTokenizer | None:
    """Return the tokenizer of a language model of scores; `None` for one of sound; raises as `ScoreTokenizer`."""
    if not holds_scores(pretrained_model_name_or_path, revision=revision):
        return None
    return ScoreTokenizer(_file(pretrained_model_name_or_path, TOKENIZER_FILE, revision))


def save_tokens(folder: str | Path, tokens: CodeTokens | UpsamplingTokens, info: CodesInfo) -> None:
    """Write `code_tokens.json` into the folder of a language model, with a checksum of it and of its `config.json`."""
    (kind,) = (name for name, cls in KINDS.items() if isinstance(tokens, cls))
    content: dict[str, Any] = {"format": FORMAT, "kind": kind, "tokens": asdict(tokens), "codes": asdict(info)}
    content[CHECKSUMS] = {"tokens": _fingerprint(content)}
    if (Path(folder) / CONFIG_FILE).is_file():
        content[CHECKSUMS]["config"] = config_fingerprint(json.loads((Path(folder) / CONFIG_FILE).read_text()))
    with replacing(Path(folder) / TOKENS_FILE) as file:
        file.write_text(json.dumps(content, indent=2) + "\n")


def load_tokens(
    pretrained_model_name_or_path: str | Path, *, revision: str | None = None
) -> tuple[CodeTokens | UpsamplingTokens, CodesInfo]:
    """Read `code_tokens.json` from a folder or the Hub.

    Raises:
        ValueError: The file is missing, damaged, changed, or of another format; the `config.json` beside it was
            changed; or a revision of a folder is given.
        OSError: The repository cannot be reached.
    """
    check_revision(pretrained_model_name_or_path, revision)
    path = _file(pretrained_model_name_or_path, TOKENS_FILE, revision)
    if not path.is_file():
        check_no_checkpoint(pretrained_model_name_or_path)
        raise ValueError(f"{pretrained_model_name_or_path} has no {TOKENS_FILE}: it is not a language model of codes.")
    try:
        content = read_json(path)
        if content.get("format") != FORMAT:
            raise ValueError(f"it has format {content.get('format')!r}, not {FORMAT!r}")
        values = content["codes"] | {name: tuple(content["codes"][name]) for name in ("levels", "frame_rates")}
        tokens, info = KINDS[content["kind"]](**content["tokens"]), CodesInfo(**values)
        checksums = content.get(CHECKSUMS, {})  # earlier versions wrote none
        if checksums and checksums["tokens"] != _fingerprint(content):
            raise ValueError("its values were changed after it was written")
    except (ValueError, TypeError, AttributeError, KeyError) as error:  # not JSON, or another structure
        raise ValueError(f"{path} cannot be read: {str(error).rstrip('.')}. Train the model again.") from error
    if "config" in checksums:
        config = _file(pretrained_model_name_or_path, CONFIG_FILE, revision)
        if not config.is_file() or config_fingerprint(read_json(config)) != checksums["config"]:
            raise ValueError(
                f"{config} is not the one that the language model was saved with; use an intact copy. If another "
                f"version of transformers wrote it, delete `{CHECKSUMS}` in {path.name}."
            )
    return tokens, info


def _holds(name: str | Path, file: str, revision: str | None) -> bool:
    name = model_location(str(name))
    if Path(name).exists():  # also a file: no id of the Hub
        return (Path(name) / file).is_file()
    try:
        hf_hub_download(str(name), file, revision=revision)
    except (OSError, ValueError):  # no such file, no such repository, no network, or not a repository name
        return False
    return True


def _file(name: str | Path, file: str, revision: str | None) -> Path:
    """Return the path of a file of a folder, or of a repository on the Hub; there may be no such file."""
    name = model_location(str(name))
    if not Path(name).exists():
        with existing(name), contextlib.suppress(RemoteEntryNotFoundError):
            return Path(hf_hub_download(str(name), file, revision=revision))
    return Path(name) / file


def _fingerprint(content: Mapping[str, Any]) -> str:
    codes = {name: value for name, value in content["codes"].items() if name not in AUTOENCODER}
    return values_fingerprint([content["kind"], content["tokens"], codes])
