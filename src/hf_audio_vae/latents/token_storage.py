"""How a folder says which tokens the language model in it has learnt, and which codes they stand for."""

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from huggingface_hub import file_exists, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

from hf_audio_vae.latents.tokens import CodeTokens
from hf_audio_vae.latents.upsampling_tokens import UpsamplingTokens

FORMAT = "hf_audio_vae.code_tokens.v1"
TOKENS_FILE = "code_tokens.json"
KINDS: dict[str, type[CodeTokens] | type[UpsamplingTokens]] = {"codes": CodeTokens, "upsampling": UpsamplingTokens}


@dataclass(frozen=True)
class CodesInfo:
    """Where a prior's codes come from.

    Args:
        model (`str`): Path or Hub id of the autoencoder that encoded.
        weights (`str`): Fingerprint of its weights.
        levels (`tuple[int, ...]`): Levels of a hierarchy that are modelled, coarse ones first; empty without levels.
        frame_rates (`tuple[float, ...]`): Frames a second of each part: one, or the coarse and the fine level's.
        segment_units (`int`): Length of the stretches it was trained on, in the tokens' units: frames, or for
            upsampling the shortest stretches in which both levels have whole frames.
    """

    model: str
    weights: str
    levels: tuple[int, ...]
    frame_rates: tuple[float, ...]
    segment_units: int


def holds_tokens(pretrained_model_name_or_path: str | Path) -> bool:
    """Tell whether a folder, or a repository on the Hub, holds a language model of codes."""
    if Path(pretrained_model_name_or_path).is_dir():
        return (Path(pretrained_model_name_or_path) / TOKENS_FILE).is_file()
    return file_exists(str(pretrained_model_name_or_path), TOKENS_FILE)


def save_tokens(folder: str | Path, tokens: CodeTokens | UpsamplingTokens, info: CodesInfo) -> None:
    """Write `code_tokens.json` into a folder."""
    (kind,) = (name for name, cls in KINDS.items() if isinstance(tokens, cls))
    content = {"format": FORMAT, "kind": kind, "tokens": asdict(tokens), "codes": asdict(info)}
    (Path(folder) / TOKENS_FILE).write_text(json.dumps(content, indent=2) + "\n")


def load_tokens(
    pretrained_model_name_or_path: str | Path, *, revision: str | None = None
) -> tuple[CodeTokens | UpsamplingTokens, CodesInfo]:
    """Read what `save_tokens` wrote, from a folder or the Hub.

    Raises:
        ValueError: There is no such file, or it is of another format.
        OSError: The repository cannot be reached.
    """
    path = Path(pretrained_model_name_or_path) / TOKENS_FILE
    if not path.parent.is_dir():
        with contextlib.suppress(RemoteEntryNotFoundError):
            path = Path(hf_hub_download(str(pretrained_model_name_or_path), TOKENS_FILE, revision=revision))
    if not path.is_file():
        raise ValueError(f"{pretrained_model_name_or_path} has no {TOKENS_FILE}: it is no language model of codes.")
    content = json.loads(path.read_text())
    if content.get("format") != FORMAT:
        raise ValueError(f"{path} has format {content.get('format')!r}, not {FORMAT!r}; train the model anew.")
    values = content["codes"]
    info = CodesInfo(
        model=values["model"],
        weights=values["weights"],
        levels=tuple(values["levels"]),
        frame_rates=tuple(values["frame_rates"]),
        segment_units=values["segment_units"],
    )
    return KINDS[content["kind"]](**content["tokens"]), info
