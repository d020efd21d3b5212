"""What a check found, and a page of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """The outcome of a check.

    Args:
        level (`str`): `"ok"`, `"warning"`, or `"error"` for what makes results wrong.
        subject (`str`): What was checked.
        text (`str`): What was found, and what to do about it.
    """

    level: Level
    subject: str
    text: str


def page(findings: Sequence[Finding]) -> str:
    """Return one line per finding.

    Example:
        >>> print(page([Finding("ok", "weights", "finite"), Finding("error", "prior", "of another model")]))
        ok       weights  finite
        error    prior    of another model
    """
    width = max((len(finding.subject) for finding in findings), default=0)
    return "\n".join(f"{finding.level:<9}{finding.subject:<{width}}  {finding.text}" for finding in findings)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 if a finding is an error, else 0."""
    return int(any(finding.level == "error" for finding in findings))
