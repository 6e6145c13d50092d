"""What machine code of kernels of GPUs says without a GPU: registers, spills, instructions of each innermost loop.

    python benchmarks/gpu_code.py FILE.cuh INSTANCE [ARCHITECTURE]

Registers and spills come from NVRTC's log, instructions from ``nvdisasm`` (package nvidia-cuda-nvdisasm) where it is
found.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from allegro_md.kernels.gpu.nvrtc import compile_anew

KINDS = {
    "fp64": r"D(FMA|ADD|MUL|SETP|MNMX)", "fp32": r"F(FMA|ADD|MUL|SETP|MNMX)", "convert": r"[FI]2[FI]|FRND",
    "approximate": r"MUFU", "global load": r"LDG", "global store": r"STG", "shared": r"LDS|STS", "atomic": r"RED|ATOM",
    "local": r"LDL|STL", "across lanes": r"SHFL|VOTE",
}  # fmt: skip
"""Kind of an instruction → how its name begins; all others are "integer and control"."""


def described(file: str, instance: str, architecture: str) -> dict[str, Any]:
    """Seconds of compilation, registers, bytes of spills and stack, and what `instructions` finds."""
    began = time.perf_counter()
    made = compile_anew(file, instance, architecture)
    seconds = time.perf_counter() - began
    of_kernel = made.log[made.log.find(made.name.decode()) :]
    registers = re.search(r"Used (\d+) registers", of_kernel)
    memory = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", of_kernel)
    return {
        "seconds": round(seconds, 3),
        "registers": int(registers.group(1)) if registers else None,
        "stack_and_spills_bytes": [int(number) for number in memory.groups()] if memory else None,
        **instructions(made.code, made.name.decode()),
    }


def instructions(code: bytes, name: str) -> dict[str, Any]:
    """Number of instructions, and of each kind in the innermost loops; nothing where there is no nvdisasm."""
    program = disassembler()
    if program is None:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(code)
        file.flush()
        text = subprocess.run([program, file.name], capture_output=True, text=True, check=True).stdout
    found, places = [], {}
    text = text[text.index(f".section\t.text.{name},") :]
    for line in text[: text.find(".section", 10)].splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            places[label.group(1)] = len(found)
        elif one := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)\s*(.*?);", line):
            found.append(one.groups())
    jumps = []
    for at, (operation, rest) in enumerate(found):
        target = re.search(r"\.L_x_\d+", rest)
        if operation.startswith("BRA") and target and places.get(target.group(), at + 1) <= at:
            jumps.append((places[target.group()], at))
    inner = [a for a in jumps if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in jumps)]
    loops = [dict(Counter(_kind(operation) for operation, _ in found[first : last + 1])) for first, last in inner]
    return {"instructions": len(found), "loops": loops}


def disassembler() -> str | None:
    """The program ``nvdisasm``: that on the path, or that of a package beside torch's own."""
    beside = sorted(Path(folder) / "nvidia" for folder in sys.path if (Path(folder) / "nvidia").is_dir())
    packaged = [str(path) for folder in beside for path in folder.glob("*/bin/nvdisasm")]
    return shutil.which("nvdisasm") or (packaged[0] if packaged else None)


def _kind(name: str) -> str:
    return next((kind for kind, pattern in KINDS.items() if re.match(pattern, name)), "integer and control")


if __name__ == "__main__":
    words = sys.argv[1:] if len(sys.argv) > 3 else [*sys.argv[1:], "sm_90"]
    print(json.dumps(described(*words), indent=1))
