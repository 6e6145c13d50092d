"""What the loops of a CPU cannot show of kernels: phases that not all threads meet, and machine code that spills."""

from __future__ import annotations

import re

import pytest
from gpu_instances import INSTANCES
from phases import KERNEL, faults

from allegro_md.kernels.gpu.signature import SOURCES, read_signature

ARCHITECTURES = ("sm_90", *(pytest.param(name, marks=pytest.mark.long) for name in ("sm_80", "sm_120")))
FILES = sorted(path.name for path in SOURCES.glob("*.cuh"))
HEADERS = sorted(SOURCES.glob("*.h"))


@pytest.mark.parametrize("file", [*FILES, *(path.name for path in HEADERS)])
def test_all_threads_meet_all_phases(file: str) -> None:
    assert faults((SOURCES / file).read_text(), "".join(path.read_text() for path in HEADERS)) == []


BOTH = "template <bool X> DEVICE void both(i64 n) { FOR_LANES(l) { } } DEVICE i64 one(i64 n) { return n; }"


@pytest.mark.parametrize(
    "body",
    [
        "if (n > 2) { FOR_LANES(l) { x = l; } }",
        "for (int k = 0; k < n; ++k) { FOR_LANES(l) { x = l; } }",
        "if (n > 2) add_all(x, to);",
        "FOR_THREADS(t) { if (t > n) return; }",
        "FOR_THREADS(t) { FOR_LANES(l) { } }",
        "y = n > 2 ? sum_of(x) : 0;",
        "if (n > 2) both<true>(n);",
    ],
)
def test_a_phase_under_a_condition_is_found(body: str) -> None:
    assert len(faults(f"KERNEL(256, 1) wrong(i64 n) {{ {body} }}", BOTH)) == 1
    if "both" not in body:
        assert len(faults(f"DEVICE void wrong(i64 n) {{ {body} FOR_LANES(l) {{ }} }}")) == 1


@pytest.mark.parametrize(
    "body",
    [
        "for (i64 s = 0; any(s < n); ++s) { FOR_LANES(l) { } }",
        "FOR_GROUPS(g) { FOR_LANES(l) { } }",
        "FOR_GROUPS(g) { both<true>(n); }",
        "if (n > 2) n = one(n);",
    ],
)
def test_even_phases_are_allowed(body: str) -> None:
    assert faults(f"KERNEL(256, 1) right(i64 n) {{ {body} }}", BOTH) == []


def test_every_kernel_has_an_instance_in_the_tests() -> None:
    for file in FILES:
        names = set(KERNEL.findall((SOURCES / file).read_text()))
        assert names == {instance.partition("<")[0] for instance in INSTANCES[file]}, file
        for instance in INSTANCES[file]:
            assert read_signature(file, instance).parameters


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_machine_code_spills_nothing(file: str, architecture: str) -> None:
    pytest.importorskip("cuda.bindings.nvrtc")
    from allegro_md.kernels.gpu.nvrtc import compile_anew

    for instance in INSTANCES[file]:
        log = compile_anew(file, instance, architecture).log
        used = [int(number) for number in re.findall(r"Used (\d+) registers", log)]  # of all but templates, too
        most = 65_536 // (int(re.search(r"KERNEL\((\d+),", (SOURCES / file).read_text()).group(1)))  # type: ignore[union-attr]
        assert used and max(used) <= min(255, most), (instance, log)
        memory = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
        assert len(memory) == len(used) and set(memory) == {("0", "0", "0")}, (instance, log)
