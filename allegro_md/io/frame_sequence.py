"""A file of frames as a sequence: indices, slices, and closing; the same for every format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar, overload

F = TypeVar("F")


class Frames(Sequence[F]):
    """Some frames of a file, none of which is read before it is asked for."""

    def __init__(self, frame: Callable[[int], F], indices: range) -> None:
        """The frames that `frame` makes of these numbers."""
        self._frame, self._indices = frame, indices

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> F: ...
    @overload
    def __getitem__(self, index: slice) -> Frames[F]: ...
    def __getitem__(self, index: int | slice) -> F | Frames[F]:
        """A frame, or the frames of a slice."""
        chosen = self._indices[index]
        return Frames(self._frame, chosen) if isinstance(chosen, range) else self._frame(chosen)


class FrameFile(ABC, Generic[F]):
    """A file of frames; ``with`` closes it.

    Attributes:
        n_frames: number of frames.
    """

    n_frames: int

    @abstractmethod
    def frame(self, index: int) -> F:
        """The frame of a number from 0."""

    @abstractmethod
    def close(self) -> None:
        """Closes the file; frames keep what they have read."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self.n_frames

    def __iter__(self) -> Iterator[F]:
        return iter(self[:])

    @overload
    def __getitem__(self, index: int) -> F: ...
    @overload
    def __getitem__(self, index: slice) -> Frames[F]: ...
    def __getitem__(self, index: int | slice) -> F | Frames[F]:
        """A frame, or the frames of a slice."""
        return Frames(self.frame, range(self.n_frames))[index]
