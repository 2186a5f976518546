"""Complete the documentation site, as hooks of MkDocs: the API reference and the repository's files that pages link to.

The reference has one page per folder of the product, made from the docstrings of its modules. A page may link to any
file of the repository, as in `../CONTRIBUTING.md`; the file becomes part of the site under `repository/`.
"""

from __future__ import annotations

import ast
import os.path
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("curation", "jobs", "metadata", "training")
COPIES = "repository/"  # the site's folder for files outside docs/
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the reference and the linked files. MkDocs calls this after it has listed the files of docs/."""
    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path in linked_files(pages):
        files.append(File.generated(config, COPIES + path, abs_src_path=str(ROOT / path)))
    for uri, content in reference_pages().items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Direct links that leave docs/ to the copies on the site. MkDocs calls this for every page."""
    uri = page.file.src_uri
    source = uri.removeprefix(COPIES) if uri.startswith(COPIES) else f"docs/{uri}"

    def site_link(match: re.Match[str]) -> str:
        target = resolve(source, match[1])
        if target is None:
            return match[1]  # MkDocs reports the broken link
        target_uri = target.removeprefix("docs/") if target.startswith("docs/") else COPIES + target
        return os.path.relpath(target_uri, PurePosixPath(uri).parent)

    return LINK.sub(site_link, markdown)


def linked_files(pages: list[str]) -> set[str]:
    """Return the files outside docs/ that pages link to, and those that these link to in turn."""
    linked: set[str] = set()
    while pages:
        page = pages.pop()
        for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            target = resolve(page, link)
            if target and not target.startswith("docs/") and target not in linked:
                linked.add(target)
                if target.endswith(".md"):
                    pages.append(target)
    return linked


def resolve(page: str, link: str) -> str | None:
    """Return the file that a page links to as a path in the repository, or None if there is no such file."""
    target = os.path.normpath(PurePosixPath(page).parent / link)
    return target if (ROOT / target).is_file() and not target.startswith("..") else None


def reference_pages() -> dict[str, str]:
    """Return the pages of the API reference by their path on the site: an index, and one page per folder."""
    lines = ["# API reference", "", "One page per folder, made from the docstrings.", ""]
    pages = {}
    for package in PACKAGES:
        for folder in folders(ROOT / package):
            name = folder.relative_to(ROOT).as_posix()
            uri = f"reference/{name}.md" if "/" in name else f"reference/{name}/index.md"
            pages[uri] = reference_page(folder)
            lines.append(
                f"{'    ' * name.count('/')}- [{name}]({uri.removeprefix('reference/')}): {first_line(folder)}"
            )
    return {"reference/index.md": "\n".join(lines) + "\n", **pages}


def folders(package: Path) -> Iterator[Path]:
    """Yield the folders of a package that contain modules, the package itself first."""
    for path in sorted(package.rglob("__init__.py")):
        yield path.parent


def reference_page(folder: Path) -> str:
    """Return the page of a folder: its purpose, then its modules in the order of their names."""
    package = ".".join(folder.relative_to(ROOT).parts)
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return "\n\n".join([f"# {package}", first_line(folder), *(f"::: {package}.{module}" for module in modules)]) + "\n"


def first_line(folder: Path) -> str:
    """Return the first paragraph of a folder's docstring as one line."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())
