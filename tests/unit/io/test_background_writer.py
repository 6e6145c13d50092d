"""The writing thread keeps order, holds back who is too fast, and remembers the first fault."""

from __future__ import annotations

import threading
from functools import partial

from allegro_md.io.background_writer import BackgroundWriter


def test_order_and_backpressure() -> None:
    worker, taken, gate = BackgroundWriter(2), threading.Event(), threading.Event()
    done: list[int] = []

    def held() -> None:
        taken.set()
        gate.wait()

    worker.put(held)
    taken.wait()
    for k in range(2):
        worker.put(partial(done.append, k))
    late = threading.Thread(target=lambda: worker.put(lambda: done.append(2)))
    late.start()
    late.join(0.1)
    assert late.is_alive() and not done  # two wait already
    gate.set()
    late.join()
    worker.drain()
    assert done == [0, 1, 2]
    worker.close()


def test_after_a_fault_jobs_are_dropped_and_nobody_waits() -> None:
    worker, done = BackgroundWriter(1), []

    def fail() -> None:
        raise OSError("full")

    worker.put(fail)
    for _ in range(10):
        worker.put(lambda: done.append(1))
    worker.drain()
    assert str(worker.error) == "full" and not done
    worker.close()
    worker.close()
