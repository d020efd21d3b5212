PARTS = ("weights", "configuration values")


def fingerprint_differences(recorded: str, present: str) -> list[str]:
    """Return what differs between two fingerprints of models: weights, configuration values, both or nothing.

    Fingerprints of earlier versions have only the part of the weights; the other part is then not compared.

    Example:
        >>> fingerprint_differences("1a-2b", "1a-3c"), fingerprint_differences("1a", "1a-3c")
        (['configuration values'], [])
    """
    return [part for part, a, b in zip(PARTS, recorded.split("-"), present.split("-"), strict=False) if a != b]
