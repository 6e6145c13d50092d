"""When a run must end early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from allegro_md import stopping
from allegro_md.cli import main, program
from allegro_md.comm import Comm
from allegro_md.stopping import EarlyInterrupt, StopRequest


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopping, "time", clock)
    return clock


def test_no_limit(clock: Clock) -> None:
    request = StopRequest(None, 0.0)
    clock.now = 1e9
    assert request.wanted() == 0


def test_room_is_left_for_the_last_step_and_a_checkpoint(clock: Clock) -> None:
    """Steps of 1 s, every tenth with a checkpoint of 5 s: the run ends with more than 6 s left, and not much more."""
    request = StopRequest(100.0, 0.0)
    clock.now = 20.0  # compiling is not typical
    step = 0
    while not request.wanted():
        step += 1
        clock.now += 6.0 if step % 10 == 0 else 1.0
    assert request.wanted() == 2 and 100.0 - 2 * 6.0 - 6.0 <= clock.now <= 100.0 - 6.0


def test_first_checkpoint_is_expected_before_it_was_seen(clock: Clock) -> None:
    request = StopRequest(100.0, 30.0)
    clock.now = 39.0
    assert request.wanted() == 0
    clock.now = 41.0
    assert request.wanted() == 2


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Ctrl-C as in a terminal; a shell ignores it for what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signals(clock: Clock, keyboard: None) -> None:
    """One is a request; the same again at once is the launcher's echo; a later one is the user's last word."""
    request = StopRequest(None, 0.0)
    with request.on_signals():
        assert request.wanted() == 0
        signal.raise_signal(signal.SIGINT)
        assert request.wanted() == 1
        clock.now = 0.5
        signal.raise_signal(signal.SIGINT)
        clock.now = 10.0
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the process went on")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_every_signal_that_asks_for_an_end(number: signal.Signals) -> None:
    request = StopRequest(None, 0.0)
    with request.on_signals():
        signal.raise_signal(number)
        assert request.wanted() == 1


def test_a_signal_before_anything_can_be_saved_is_an_interruption() -> None:
    before = [signal.getsignal(kind) for kind in stopping.SIGNALS]
    for kind in stopping.SIGNALS:
        with pytest.raises(KeyboardInterrupt), stopping.interrupt_on_signals():
            signal.raise_signal(kind)
    assert [signal.getsignal(kind) for kind in stopping.SIGNALS] == before


def test_an_interrupt_within_executed_text_is_handled_like_any_other(tmp_path: Path) -> None:
    """Imports make classes by executing text. Python ends `python -m` by SIGINT where a KeyboardInterrupt has left such
    text, although it was caught.
    """
    program = (
        "import sys\nfrom allegro_md.stopping import interrupt_on_signals\n"
        "with interrupt_on_signals():\n    try:\n"
        "        exec('import os, signal; os.kill(os.getpid(), signal.SIGTERM)\\nfor _ in range(10**9): pass')\n"
        "    except KeyboardInterrupt:\n        sys.exit(130)\n"
    )
    (tmp_path / "interrupted.py").write_text(program)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ended = subprocess.run([sys.executable, "-m", "interrupted"], timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert ended.returncode == 130


def test_a_signal_that_a_compiler_loses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Raised within a callback of a compiler the exception is lost, and another one follows: still status 130."""

    def compiling(arguments: list[str], comm: Comm) -> int:
        with suppress(EarlyInterrupt):
            signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("no compiled object yet")

    monkeypatch.setattr(program, "_dispatch", compiling)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "allegro-md: interrupted\n"


def test_a_signal_that_was_lost_interrupts_the_run_before_its_first_step() -> None:
    with stopping.interrupt_on_signals():
        with suppress(EarlyInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(EarlyInterrupt), StopRequest(None, 0.0).on_signals():
            raise AssertionError("the run has begun")
    with StopRequest(None, 0.0).on_signals():
        pass
