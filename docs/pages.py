"""Hooks of the docs site: pages that lie elsewhere in the repository, notebooks, and links between them and the docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
#: Pages of the site that are read where they lie.
PAGES = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "model_card.md": "peekaboo/assets/README.md"}


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_linked(text, Path(source).parent, Path())))
    for notebook in sorted((ROOT / "docs").glob("*.ipynb")):
        _add_notebook(notebook, files, config)
    return files


def _add_notebook(notebook: Path, files: Files, config: Any) -> None:
    """Adds a notebook as a page, with the outputs that it was saved with; nothing is run."""
    from nbconvert import MarkdownExporter

    names = {"output_files_dir": "images", "unique_key": notebook.stem}
    text, resources = MarkdownExporter().from_filename(str(notebook), resources=names)
    files.append(File.generated(config, f"{notebook.stem}.md", content=text))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns links into the repository to pages of the site, or to names."""
    if page.file.src_uri in PAGES:
        return markdown
    return _linked(markdown, Path("docs") / Path(page.file.src_uri).parent, Path(page.file.src_uri).parent)


def _linked(text: str, folder: Path, here: Path) -> str:
    def link(found: re.Match[str]) -> str:
        name, target, anchor = found[1], found[2], found[3] or ""
        place = (ROOT / folder / target).resolve()
        if not place.is_relative_to(ROOT) or not place.exists():
            return found[0]  # the build says that it is broken
        inside = place.relative_to(ROOT).as_posix()
        pages = {source: page for page, source in PAGES.items()}
        if inside in pages:
            new = pages[inside]
        elif inside.startswith("docs/"):
            new = re.sub(r"\.ipynb$", ".md", inside.removeprefix("docs/"))
        else:
            return name[1:-1] if not name.startswith("!") else found[0]  # a file of the repository: its name will do
        up = "../" * len(here.parts)
        return f"{name}({up}{new}{anchor})"

    return re.sub(r"(!?\[[^\]]*\])\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)", link, text)
