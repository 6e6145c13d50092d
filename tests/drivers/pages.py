"""A page as a browser sees it: its texts, tables, and what it would load; and an observable to be shown on one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

EMPTY = {"meta", "link", "img", "br", "hr", "input", "col"}
"""Elements without an end tag."""

ADDRESSES = {"src", "href", "srcset", "action", "data", "poster", "xlink:href"}
"""Attributes that make a browser load something, or lead somewhere."""


@dataclass
class Section:
    """An element with an id within main.

    Attributes:
        text: all of it, with single spaces.
        rows: of its tables, the texts of their cells.
    """

    text: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """Reads a page.

    Attributes:
        sections: by id.
        addresses: everything that is loaded or linked.
        faults: of its form: tags that do not match, an id that occurs twice.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, Section] = {}
        self.addresses: list[str] = []
        self.faults: list[str] = []
        self._open: list[tuple[str, str | None]] = []
        self._ids: set[str] = set()
        self._cell = False
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is not closed" for tag, _ in self._open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.addresses += [value or "" for name, value in attributes if name in ADDRESSES]
        identity = found.get("id")
        if identity is not None:
            self.faults += [f"the id {identity} occurs twice"] * (identity in self._ids)
            self._ids.add(identity)
        if tag in EMPTY:
            return
        in_main = bool(self._open) and self._open[-1][0] == "main"
        self._open.append((tag, identity if in_main else None))
        if in_main and identity is not None:
            self.sections[identity] = Section()
        section = self._section()
        if section is not None and tag == "tr":
            section.rows.append([])
        if section is not None and tag in ("td", "th"):
            section.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.faults.append(f"{tag} ends where {self._open[-1:]} is open")
            return
        self._open.pop()
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        section = self._section()
        if section is None or self._open[-1][0] == "script":
            return
        section.text = " ".join(f"{section.text} {data}".split())
        if self._cell:
            section.rows[-1][-1] = (section.rows[-1][-1] + data).strip()

    def row(self, section: str, name: str) -> list[str]:
        """The cells behind the first one of the row that begins with a name."""
        return next(row[1:] for row in self.sections[section].rows if row and row[0] == name)

    def _section(self) -> Section | None:
        found = [identity for _, identity in self._open if identity is not None]
        return self.sections[found[-1]] if found else None


def as_number(text: str) -> float:
    """The number in a cell: typographic minus, powers of ten, marks and thin spaces undone."""
    plain = text.rstrip("*").replace("−", "-").replace("\N{NARROW NO-BREAK SPACE}", "")
    plain = plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace("·10", "e")
    return float(plain)


def write_observable(directory: Path, name: str = "rdf", **entries: Any) -> None:
    """An observable as a run writes it, with a CSV file and no picture."""
    folder = directory / "observe"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.csv").write_text("# of a test\nr_A,g_Ar-Ar\n" + "".join(f"{k},{k % 3}\n" for k in range(20)))
    content = {
        "kind": "rdf", "name": name, "title": "Radial distribution function", "settings": {"every": 10},
        "samples": 101, "first_step": 0, "last_step": 1000, "notes": [], "files": [f"{name}.csv"],
        "values": [
            {"name": "D", "label": "self-diffusion of <Ar>", "value": 1.2345e-5, "error": 1.04e-6, "unit": "cm2/s"},
            {"name": "n", "label": "neighbors", "value": None, "error": None, "unit": ""},
        ],
        "provenance": {"program": "allegro-md", "date": "2026-01-01", "source": "a test"},
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(content | entries))
