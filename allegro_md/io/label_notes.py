"""Remarks on labels while they are read, and which labels may be left out."""

from __future__ import annotations

from dataclasses import dataclass, field

LABELS = ("energy", "forces", "stress")


@dataclass
class Notes:
    """Collects remarks of the readers.

    Attributes:
        optional: labels that nobody asks for: those that cannot be used are left out instead of refused.
        virials: names of the files whose stresses come from a virial.
    """

    optional: frozenset[str] = frozenset()
    virials: set[str] = field(default_factory=set)
    _said: dict[str, None] = field(default_factory=dict)
    _left_out: dict[tuple[str, str, str], dict[str, None]] = field(default_factory=dict)

    def say(self, file: str, what: str) -> None:
        """Adds a remark on a file; the same one twice is one."""
        self._said[f"{file}: {what}"] = None

    def leave_out(self, label: str, reason: str, source: str) -> None:
        """Counts a frame whose label is left out.

        Args:
            label: "energy", "forces" or "stress"; "frame" for all of it.
            reason: a clause such as "it is not finite".
            source: "FILE, frame N".
        """
        file = source.partition(", frame ")[0]
        self._left_out.setdefault((file, label, reason), {})[source] = None

    def lines(self) -> list[str]:
        """All remarks, one per file and reason."""
        lines = list(self._said)
        for (file, label, reason), sources in self._left_out.items():
            first = next(iter(sources)).removeprefix(f"{file}, ")
            what = f"{len(sources)} frames are" if label == "frame" else f"the {label} of {len(sources)} frames is"
            if len(sources) == 1:
                what = "one frame is" if label == "frame" else f"the {label} of one frame is"
            lines.append(f"{file}: {what} left out (the first: {first}): {reason}")
        return lines
