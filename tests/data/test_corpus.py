from hf_audio_vae.data.corpus import CorpusSummary


def test_the_table_counts_files_and_hours_by_split_and_kind() -> None:
    summary = CorpusSummary()
    for split, kind, license_name, seconds in (
        ("train", "music", "CC0", 1800.0),
        ("train", "music", "CC-BY", 900.0),
        ("train", "music", "CC-BY", 900.0),
        ("test", "speech", "CC0", 90.0),
    ):
        summary.add(split, {"kind": kind, "license": license_name, "seconds": seconds})
    assert summary.table().splitlines()[2:] == [
        "| train | music | 3 | 1.00 | CC-BY (2), CC0 (1) |",
        "| test | speech | 1 | 0.03 | CC0 (1) |",
    ]
