"""Every code block of the documentation is true: inputs are valid, commands exist, programs and files are shown whole.

A block that is none of these fails. Programs that pages show are executed by `test_examples.py`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from allegro_md.cli.program import COMMANDS, app
from allegro_md.config import load_input
from allegro_md.config.load import load_training
from allegro_md.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^( *)```([\w.]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SNIPPET = re.compile(r'^ *--8<-- "([^":]+)(?::(\w+)(?::(\w+))?)?"$')
PLACEHOLDER = re.compile(r"^[A-Z][A-Z0-9-]*$|/where/|\b(?:MODEL|DATA|FOLDER|INPUT|TRAIN|IN|OUT|RUN|DIR|FILE|M-\d)\b")
EXAMPLES = ROOT / "docs" / "examples"


class Block(NamedTuple):
    """One fenced block: where it is, its language and its text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [Block(page, text[: m.start()].count("\n") + 1, m[2], m[3]) for m in FENCE.finditer(text)]
    return found


def snippet(text: str) -> str | None:
    """The part of a file that a block shows, or None where it holds text of its own.

    Raises:
        AssertionError: there is no such file or part.
    """
    found = SNIPPET.match(text.strip("\n")) if text.count("--8<--") == 1 and text.strip().count("\n") == 0 else None
    if found is None:
        return None
    path = ROOT / found[1]
    assert path.is_file(), f"no file {found[1]}"
    source = path.read_text()
    if found[2] is None:
        return source
    if found[2].isdigit():
        lines = source.splitlines()
        assert int(found[3]) <= len(lines), f"{found[1]} has {len(lines)} lines"
        return "\n".join(lines[int(found[2]) - 1 : int(found[3])])
    assert f"--8<-- [start:{found[2]}]" in source, f"{found[1]} has no part {found[2]}"
    return source.split(f"--8<-- [start:{found[2]}]")[1].split(f"# --8<-- [end:{found[2]}]")[0]


def names_files(value: Any) -> list[str]:
    """All strings in a value that look like paths."""
    if isinstance(value, str):
        return [value] if re.search(r"\.(allegro|extxyz|xyz|cif|alloy|fs|data|h5|npz)$", value) else []
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for part in parts for name in names_files(part)]


def check_toml(text: str, folder: Path) -> None:
    """A whole input, or tables and keys of one, is valid once the rest is added; only `check` reads structures."""
    given = tomllib.loads(text)
    for name in names_files(given):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "input.toml"
    if given.keys() & {"data", "model", "training"}:
        rest = {"data": 'data = { train = "f.xyz" }', "model": "model = { cutoff = 5.0 }", "training": "", "output": ""}
        (folder / "f.xyz").touch()
        path.write_text("\n".join(line for key, line in rest.items() if key not in given) + "\n" + text)
        load_training(path)
        return
    table = {
        "system": '[system]\ncrystal = { symbol = "Ar", lattice = "fcc", a = 5.3, repeat = [4, 4, 4] }\n',
        "potential": '[potential]\nkind = "lj"\nepsilon = 0.01\nsigma = 3.4\ncutoff = 8.5\n',
        "dynamics": '[dynamics]\nensemble = "nve"\ntimestep = 1.0\nsteps = 10\n',
    }
    path.write_text(text + "\n" + "".join(lines for key, lines in table.items() if key not in given))
    load_input(path)


def check_command(line: str) -> None:
    """One line of a shell: the program exists, its options are known, and files of the repository are there."""
    words = shlex.split(line, comments=True)
    if words[:2] == ["mpirun", "-n"]:
        assert words[2].isdigit() or words[2] == "N"
        words = words[3:]
    elif words[:1] == ["srun"]:
        words = words[words.index("allegro-md") :]
    for word in words[1:]:
        inside = word.split("/")[0] in ("inputs", "benchmarks", "docs", "tests") and "/run-" not in word
        assert not inside or PLACEHOLDER.search(word) or (ROOT / word).exists(), f"no file {word}"
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {words[1]}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file()
    elif words[0] == "pip":
        assert words[1] == "install"
    else:
        assert words[0] == "allegro-md", f"unknown program {words[0]}"
        arguments = words[1:] if words[1] in COMMANDS else ["run", *words[1:]]
        command = typer.main.get_command(app).get_command(None, arguments[0])  # type: ignore[attr-defined]
        try:
            command.make_context(arguments[0], arguments[1:])
        except Exception as error:  # typer's usage errors share no public base class
            raise AssertionError(f"{line}: {error}") from None


def check_script(text: str) -> None:
    """A job script: the shell can read it, and its call of the program has options that are known."""
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for call in re.findall(r"^.*?(allegro-md .*--set.*)$", text, re.MULTILINE):
        check_command(re.sub(r'"\$\w+"|"\$\d"', "INPUT.toml", call).replace("${WALLTIME:-23.8 h}", "23.8 h"))


def check(block: Block, folder: Path) -> None:
    """Raises where a block is not what it seems."""
    shown = snippet(block.text)
    if block.language == "toml":
        if shown is None:
            check_toml(block.text, folder)
        else:
            path = ROOT / SNIPPET.match(block.text.strip())[1]  # type: ignore[index]
            (load_training if "train" in path.parts else load_input)(path)
    elif block.language == "bash" and shown is not None:
        check_script(shown)
    elif block.language in ("console", "bash"):
        for line in block.text.strip().splitlines():
            if line.strip() and not line.startswith("#"):
                check_command(line)
    elif block.language == "python":
        assert shown is not None, "a program is shown from a file that a test executes"
    else:
        assert block.language == "text", "say what it is: toml, console, python, or text for what a program prints"
        assert not re.search(r"^\s*(\$|allegro-md|mpirun|python|import |from )", block.text, re.MULTILINE)


@pytest.mark.parametrize("block", blocks(), ids=str)
def test_block_is_true(block: Block, tmp_path: Path) -> None:
    check(block, tmp_path)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("", "allegro-md check a.toml\n"),
        ("text", "allegro-md check a.toml\n"),
        ("python", "import allegro_md\n"),
        ("python", '--8<-- "docs/examples/absent.py"\n'),
        ("toml", "[dynamics]\nensemble = 'nve'\ntime_step = 1.0\nsteps = 3\n"),
        ("console", "allegro-md check --nonsense a.toml\n"),
        ("console", "allegro-md check inputs/absent.toml\n"),
        ("console", "make absent\n"),
        ("console", "allegro-mt check a.toml\n"),
    ],
)
def test_what_is_not_true_fails(language: str, text: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, InputError)):
        check(Block(ROOT / "README.md", 1, language, text), tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_included_is_linked(page: Path) -> None:
    """Who reads a page as a raw file finds the programs, inputs and modules that the site shows in their place."""
    text = page.read_text()
    included = {ROOT / m[1] for m in map(SNIPPET.match, text.splitlines()) if m}
    for name in re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE):
        path = ROOT / name.replace(".", "/")
        included.add(path.with_suffix(".py") if path.with_suffix(".py").is_file() else path.parent.with_suffix(".py"))
    linked = {(page.parent / target).resolve() for target in re.findall(r"\]\(([^()#\s]+)\)", text)}
    assert sorted(included - linked) == []


def test_files_of_examples_are_shown() -> None:
    """Nothing lies in docs/examples that no page shows or names."""
    pages = "".join(page.read_text() for page in PAGES)
    assert [p.name for p in EXAMPLES.iterdir() if p.is_file() and f"docs/examples/{p.name}" not in pages] == []
