import pytest

from hf_audio_vae.files.fingerprints import fingerprint_differences


@pytest.mark.parametrize(
    ("recorded", "present", "differing"),
    [
        ("1a-2b", "1a-2b", []),
        ("1a-2b", "0-2b", ["weights"]),
        ("1a-2b", "1a-0", ["configuration values"]),
        ("1a-2b", "0-0", ["weights", "configuration values"]),
        ("1a", "1a-2b", []),  # a record of an earlier version
        ("1a", "0-2b", ["weights"]),
        ("1a-2b", "1a", []),
    ],
)
def test_parts_that_both_have_are_compared(recorded: str, present: str, differing: list[str]) -> None:
    assert fingerprint_differences(recorded, present) == differing
