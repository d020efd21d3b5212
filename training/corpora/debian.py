"""Build a corpus from freely licensed audio in Debian packages, split by package.

Every row has the license of its file from the package's copyright file. Needs `apt-get` and `dpkg-deb`.

python training/corpora/debian.py --config training/corpora/debian-lean.yaml --output_dir outputs/lean
python training/corpora/debian.py --config training/corpora/debian-lean.yaml --compact --output_dir outputs/compact
"""

import email
import fnmatch
import random
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from hf_audio_vae.data.corpus import Sound
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.corpus_building import CorpusConfig, build_corpus
from hf_audio_vae.training.script import main_or_exit
from hf_audio_vae.training.sections import Section

SUFFIXES = {".ogg", ".oga", ".opus", ".wav", ".flac", ".mp3"}
ARCHIVES = {".pk3"}  # zip files


class Package(Section):
    """How to read one package."""

    kinds: dict[str, str] = Field(description="path pattern -> kind of sound; the longest matching pattern counts")
    installed: str = Field("usr/share", description="folder of the audio in the package")
    source: str = Field("", description="same folder in the source package, to which the copyright file refers")
    license: str | None = Field(None, description="license of all audio, if the copyright file is free text")


class DebianCorpusConfig(CorpusConfig):
    """Options of this script."""

    download_dir: Path = Field(Path("outputs/corpora/packages"), description="folder for downloaded packages")
    seed: int = Field(0, description="seed of the order of the sounds")
    train: dict[str, Package]
    validation: dict[str, Package] = Field(default_factory=dict)
    test: dict[str, Package] = Field(default_factory=dict)


@dataclass(frozen=True)
class CopyrightFile:
    """Licenses of the files of a source package (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/)."""

    licenses: tuple[tuple[str, str], ...]  # (pattern, license)

    @classmethod
    def parse(cls, text: str) -> "CopyrightFile":
        """Parse the `Files` paragraphs; free text has none."""
        licenses = []
        for paragraph in text.replace("\r", "").split("\n\n"):
            fields = email.message_from_string(paragraph.strip() + "\n")
            license = (fields["License"] or "").strip().partition("\n")[0]
            licenses += [(pattern, license) for pattern in (fields["Files"] or "").split()]
        return cls(tuple(licenses))

    def license_of(self, path: str) -> str | None:
        """Return the license of the last matching pattern; `*` also matches slashes."""
        found = [license for pattern, license in self.licenses if fnmatch.fnmatchcase(path, pattern)]
        return found[-1] if found else None


def download(name: str, folder: Path) -> Path:
    """Return the file of a package; download it if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(folder.glob(f"{name}_*.deb"))):
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise ValueError("`apt-get` and `dpkg-deb` are needed; run this on Debian or Ubuntu.")
        print(f"downloading {name}")
        run = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True)
        found = sorted(folder.glob(f"{name}_*.deb"))
        if run.returncode or not found:
            raise ValueError(f"package {name} cannot be downloaded: {run.stderr.strip()}; run `apt-get update` first.")
    return found[-1]


def unpack(package: Path) -> Path:
    """Unpack a package and the archives in it; return the folder."""
    folder = package.with_suffix("")
    if not folder.is_dir():
        partial = package.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        subprocess.run(["dpkg-deb", "--extract", str(package), str(partial)], check=True)
        for archive in [path for path in partial.rglob("*") if path.suffix in ARCHIVES]:
            with zipfile.ZipFile(archive) as file:
                file.extractall(archive.parent)
        partial.rename(folder)
    return folder


def sounds_of(name: str, package: Package, folder: Path) -> Iterator[Sound]:
    """Yield the sounds of an unpacked package that have a kind and a license."""
    copyright = CopyrightFile.parse((folder / "usr/share/doc" / name / "copyright").read_text(errors="replace"))
    left_out = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file() or path.is_symlink():
            continue
        inside = path.relative_to(folder).as_posix()
        in_source = f"{package.source}{inside.removeprefix(package.installed)}".lstrip("/")
        patterns = [pattern for pattern in package.kinds if fnmatch.fnmatchcase(inside, pattern)]
        kind = package.kinds[max(patterns, key=len)] if patterns else None
        license = package.license or copyright.license_of(in_source)
        if kind and license and inside.startswith(f"{package.installed}/"):
            yield Sound(f"{name}/{inside}", kind, license, name, path.read_bytes)
        else:
            left_out += 1
    if left_out:
        print(f"{name}: {left_out} files left out, their kind or license is unknown")


def sounds_by_source(packages: Mapping[str, Package], config: DebianCorpusConfig) -> Mapping[str, Sequence[Sound]]:
    """Return the sounds of a split in random order, by package for compact corpora and otherwise in one list."""
    found: dict[str, list[Sound]] = {}
    for name, package in packages.items():
        sounds = sounds_of(name, package, unpack(download(name, config.download_dir)))
        found.setdefault(name if config.compact else "", []).extend(sounds)
    for sounds_of_source in found.values():
        random.Random(config.seed).shuffle(sounds_of_source)
    return found


def main(argv: Sequence[str]) -> None:
    """Download and unpack the packages, write the corpus and print its table."""
    config = parse_config(DebianCorpusConfig, argv)
    if config.output_dir.exists():
        raise ValueError(f"{config.output_dir} exists; remove it, or choose another `--output_dir`.")
    splits = {"train": config.train, "validation": config.validation, "test": config.test}
    sounds = {split: sounds_by_source(packages, config) for split, packages in splits.items() if packages}
    build_corpus(config, sounds, "Freely licensed sound from Debian packages")


if __name__ == "__main__":
    main_or_exit(main)
