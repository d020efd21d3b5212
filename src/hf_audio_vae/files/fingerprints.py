import hashlib
import json
from collections.abc import Mapping

PARTS = ("weights", "configuration values", "latent statistics")
# Keys of a `config.json` that do not change the function. Those with an underscore are of this kind, too.
DESCRIPTIVE = {"architectures", "dtype", "quantization_config", "torch_dtype", "transformers_version", "use_cache"}


def values_fingerprint(values: object) -> str:
    """SHA-256 of values as JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def config_fingerprint(config: Mapping[str, object]) -> str:
    """SHA-256 of the values in a `config.json` of diffusers or transformers that define the function of a model."""
    kept = {key: value for key, value in config.items() if key not in DESCRIPTIVE and not key.startswith("_")}
    return values_fingerprint(kept)


def fingerprint_differences(recorded: str, present: str) -> list[str]:
    """Return what differs between two fingerprints of models: some of `PARTS`.

    Fingerprints of earlier versions have only the first parts; the others are then not compared.

    Example:
        >>> fingerprint_differences("1a-2b", "1a-3c"), fingerprint_differences("1a", "1a-3c")
        (['configuration values'], [])
    """
    return [part for part, a, b in zip(PARTS, recorded.split("-"), present.split("-"), strict=False) if a != b]
