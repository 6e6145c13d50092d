"""Hooks of MkDocs: pages made from files of the repository's root, links out of the folder, formulas as MathML.

MathML is drawn by browsers themselves, so that the site needs neither scripts nor a network for its formulas.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File in the repository's root → page that shows it."""

SHIM = ("https://unpkg.com/iframe-worker/shim", "assets/iframe-worker.js")
"""A script that the theme loads from the network where a site is opened as files, and our copy of it."""

_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
_FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of `PAGES`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Redirects links between the repository's root and its folder docs; see `site_link`."""
    uri = page.file.src_uri
    source = _SOURCES.get(uri, f"docs/{uri}")
    return _LINK.sub(lambda found: site_link(found[0], found[1], found[2], found[3], source, uri), markdown)


def site_link(link: str, image: str, text: str, target: str, source: str, page: str) -> str:
    """One link as the site has it.

    Args:
        link: in Markdown.
        image: "!" of a picture, else empty.
        text: between the brackets.
        target: between the parentheses.
        source: file of the repository that holds the link.
        page: page of the site that shows it.

    Returns:
        The link to a page of the site; to a file that is not a page, the text followed by the file's path.

    Raises:
        PluginError: the file does not exist.
    """
    path, mark, anchor = target.partition("#")
    if not path or ":" in path:
        return link
    name = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not (ROOT / name).exists():
        raise PluginError(f"{source}: the link to {target} leads nowhere")
    shown = name.startswith("docs/") and not name.endswith((".py", ".toml"))
    inside = PAGES.get(name) or (name.removeprefix("docs/") if shown else None)
    if inside is None:
        return f"{text} (`{name}`)" if not image and name not in text else f"`{name}`"
    return f"{image}[{text}]({posixpath.relpath(inside, posixpath.dirname(page) or '.')}{mark}{anchor})"


def on_page_content(content: str, **_: Any) -> str:
    """Replaces formulas by MathML."""
    return _FORMULA.sub(lambda found: mathml(html.unescape(found[2])), content)


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Replaces the only address in the network by a file of the site."""
    address, copy = SHIM
    return output.replace(address, posixpath.relpath(copy, posixpath.dirname(page.file.dest_uri) or "."))


def on_post_template(output_content: str, **_: Any) -> str:
    """The same for the page of errors."""
    return output_content.replace(SHIM[0], "/" + SHIM[1])


def mathml(formula: str) -> str:
    r"""MathML of a formula in ``\(…\)`` or ``\[…\]``."""
    formula = formula.strip()
    display = "block" if formula.startswith(r"\[") else "inline"
    return str(convert(formula[2:-2].strip(), display=display))
