"""A hook of MkDocs: adds the pages that are made from other files of the project, and from the code."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from documentation.public_names import PAGES, public_names_page
from documentation.reference import commands_page, recipes_page

ROOT = Path(__file__).parents[1]
PAGES_OF_FILES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "src/hf_audio_vae/pretrained/stft-vae-24khz/README.md": "models/stft-vae-24khz.md",
    "src/hf_audio_vae/pretrained/codec-24khz/README.md": "models/codec-24khz.md",
}


def site_links(text: str) -> str:
    """Return a text of the project's folder with its links as they are from the folder of the pages.

    Example:
        >>> site_links("[Data](docs/data.md), [Contributing](CONTRIBUTING.md)")
        '[Data](data.md), [Contributing](contributing.md)'
    """
    for name, page in PAGES_OF_FILES.items():
        text = text.replace(f"]({name})", f"]({page})")
    return re.sub(r"\]\(docs/", "](", text)


def pages() -> dict[str, str]:
    """Return the text of each page that is not in docs/, by its path in the site."""
    made = {page: site_links((ROOT / name).read_text()) for name, page in PAGES_OF_FILES.items()}
    made |= {f"reference/{page}.md": public_names_page(page) for page in PAGES}
    return made | {"reference/commands.md": commands_page(), "reference/recipes.md": recipes_page()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; MkDocs calls this when it has listed docs/."""
    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
