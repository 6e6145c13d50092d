"""Background thread for the slow part of writing, during the simulation."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs jobs in order on one thread; at most `ahead` wait, then `put` does.

    After a job has failed, the rest is dropped and `error` says why: whoever drains must look.

    Attributes:
        error: what the first failed job raised.
    """

    def __init__(self, ahead: int) -> None:
        self.error: Exception | None = None
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=ahead)
        self._thread: threading.Thread | None = None

    def put(self, job: Callable[[], None]) -> None:
        """Hands a job over; waits while too many are pending."""
        if self._thread is None:  # one that never writes has no thread
            self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def drain(self) -> None:
        """Returns when all jobs are done or dropped."""
        self._jobs.join()

    def close(self) -> None:
        """Ends the thread after the jobs it has."""
        if self._thread is not None and self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                if self.error is None:
                    job()
            except Exception as error:  # handed to all ranks by the owner
                self.error = error
            finally:
                self._jobs.task_done()
        self._jobs.task_done()
