"""History and events: every number comes back, also after a kill; the event file is parsed from its bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from allegro_md.errors import InputError
from allegro_md.training.progress import COLUMNS, HISTORY, Progress, read_history


def values(epoch: int) -> dict[str, float]:
    row = {name: 1.0 / (3.0 * epoch + k) for k, name in enumerate(COLUMNS[1:])}
    return {**row, "train_stress_rmse": math.nan, "left_s": 3661.0, "val_force_rmse": 1234.5 + epoch}


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def records(path: Path) -> Iterator[bytes]:
    """The payloads of a TFRecord file: length, its masked checksum, payload, its masked checksum."""

    def masked(data: bytes) -> int:
        crc = crc32c(data)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

    data = path.read_bytes()
    while data:
        (length, check) = struct.unpack("<QI", data[:12])
        payload, data = data[12 : 12 + length], data[12 + length :]
        assert check == masked(struct.pack("<Q", length))
        assert struct.unpack("<I", data[:4])[0] == masked(payload)
        data = data[4:]
        yield payload


def varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def fields(message: bytes) -> list[tuple[int, Any]]:
    """Field numbers and values of a protocol buffer, as its encoding is specified."""
    found, at = [], 0
    while at < len(message):
        key, at = varint(message, at)
        number, wire = key >> 3, key & 7
        value: Any
        if wire == 0:
            value, at = varint(message, at)
        else:
            length, at = (8, at) if wire == 1 else (4, at) if wire == 5 else varint(message, at)
            value, at = message[at : at + length], at + length
        found.append((number, value))
    return found


def scalars(path: Path) -> tuple[dict[tuple[int, str], float], list[int]]:
    """(step, tag) → value, and the steps at which a session starts."""
    found, starts = {}, []
    for record in records(path):
        event = fields(record)
        step = next((value for number, value in event if number == 2), 0)
        starts += [step for number, _ in event if number == 7]
        for summary in (value for number, value in event if number == 5):
            for _, value in fields(summary):
                content = dict(fields(value))
                found[step, content[1].decode()] = struct.unpack("<f", content[2])[0]
    return found, starts


def test_everything_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path)
    for epoch in (1, 2, 3):
        progress.row(epoch, values(epoch))
        assert len(read_history(tmp_path / HISTORY)) == epoch  # before the next one begins
    progress.close()
    for epoch, row in enumerate(read_history(tmp_path / HISTORY), start=1):
        expected = {"epoch": epoch, **values(epoch)}
        assert all(row[name] == expected[name] or math.isnan(expected[name]) for name in COLUMNS)
        assert math.isnan(row["train_stress_rmse"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[2].startswith("epoch     3") and lines[2].endswith("1:01:01 left")
    (events,) = (tmp_path / "tensorboard").iterdir()
    found, starts = scalars(events)
    assert len(found) == 3 * (len(COLUMNS) - 2) and not starts
    assert found[2, "val/force_rmse"] == pytest.approx(values(2)["val_force_rmse"], rel=1e-7)
    assert found[3, "learning_rate"] == pytest.approx(values(3)["learning_rate"], rel=1e-7)


def test_resume_takes_off_what_came_after(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    for epoch in (1, 2, 3, 4):
        progress.row(epoch, values(epoch))
    progress.close()
    before = (tmp_path / HISTORY).read_bytes()
    with (tmp_path / HISTORY).open("ab") as file:
        file.write(b"5,0.1,0.")  # killed while writing
    progress = Progress(tmp_path, resume_epoch=2)
    assert [row["epoch"] for row in read_history(tmp_path / HISTORY)] == [1, 2]
    for epoch in (3, 4):
        progress.row(epoch, values(epoch))
    progress.close()
    assert (tmp_path / HISTORY).read_bytes() == before
    _, second = sorted((tmp_path / "tensorboard").iterdir())
    found, starts = scalars(second)
    assert starts == [3] and {step for step, _ in found} == {3, 4}


@pytest.mark.parametrize("content", [None, "", "epoch,loss\n1,2\n"])
def test_no_history_to_take_up(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / HISTORY).write_text(content)
    with pytest.raises(InputError, match=HISTORY):
        Progress(tmp_path, resume_epoch=1)
    assert content is None or (tmp_path / HISTORY).read_text() == content
    assert not (tmp_path / "tensorboard").exists()


def test_live_table_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes any output for a terminal
    progress = Progress(tmp_path)
    for epoch in range(1, 16):
        progress.row(epoch, values(epoch))
    progress.close()
    shown = capsys.readouterr().out
    assert "learning" in shown and "1:01:01" in shown and "…" not in shown  # nothing cut off in 80 columns
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0  # the cursor is back
