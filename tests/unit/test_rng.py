"""Philox against its published vectors and an implementation in Python integers; the normal deviates against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from allegro_md.rng import Draw, Stream, normals, philox_words

# kat_vectors of Random123, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """As in the paper, figure 2 and equation 3."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [
            (second >> 32) ^ c[1] ^ k[0], second & 0xFFFFFFFF, (first >> 32) ^ c[3] ^ k[1], first & 0xFFFFFFFF,
        ]  # fmt: skip
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter: str, key: str, result: str) -> None:
    assert philox(words(counter), words(key)) == words(result)
    out = philox_words(np.array(words(counter), dtype=np.uint32), np.array(words(key), dtype=np.uint32))
    assert out.tolist() == words(result)


def test_random_counters() -> None:
    for row in np.random.default_rng(0).integers(0, 2**32, size=(100, 6)):
        out = philox_words(row[:4].astype(np.uint32), row[4:].astype(np.uint32))
        assert out.tolist() == philox(row[:4].tolist(), row[4:].tolist())


@pytest.mark.parametrize(("atom", "step", "seed"), [(0, 0, 0), (7, 3, 5), (2**33 + 5, 2**31, 2**62 + 9)])
def test_normals_by_hand(atom: int, step: int, seed: int) -> None:
    """Box–Muller on the words of counter (id, id ≫ 32, step, stream·2¹⁶ + block) and key seed."""
    expected = []
    for block in range(2):
        counter = [atom & 0xFFFFFFFF, atom >> 32, step, (int(Stream.RATTLE) << 16) | block]
        a, b, c, d = philox(counter, [seed & 0xFFFFFFFF, seed >> 32])
        u, w = ((p << 20 ^ q >> 12) & (2**52 - 1) for p, q in ((a, b), (c, d)))
        radius, angle = math.sqrt(-2.0 * math.log((u + 0.5) / 2**52)), 2.0 * math.pi * (w + 0.5) / 2**52
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    out = normals(np.array([atom]), Draw(seed, Stream.RATTLE, step))[0]
    np.testing.assert_allclose(out, expected[:3], rtol=1e-14)


def test_depends_on_id_not_on_place() -> None:
    ids = np.random.default_rng(1).permutation(1000)
    draw = Draw(5, Stream.VELOCITIES, 4)
    assert np.array_equal(normals(ids, draw), normals(np.arange(1000), draw)[ids])
    assert normals(ids[:0], draw).shape == (0, 3)


def test_everything_in_the_key_matters() -> None:
    ids = np.arange(50)
    draws = [
        normals(ids + offset, Draw(seed, stream, step, substep))
        for offset, step, substep, seed, stream in [
            (0, 0, 0, 0, Stream.VELOCITIES), (0, 0, 0, 0, Stream.RATTLE), (0, 1, 0, 0, Stream.VELOCITIES),
            (0, 0, 1, 0, Stream.VELOCITIES), (0, 0, 2, 0, Stream.VELOCITIES), (0, 0, 0, 1, Stream.VELOCITIES),
            (0, 0, 0, 2**32, Stream.VELOCITIES), (2**32, 0, 0, 0, Stream.VELOCITIES),
        ]
    ]  # fmt: skip
    for i, a in enumerate(draws):
        for b in draws[:i]:
            assert not np.any(a == b)


def test_moments() -> None:
    """Four moments, and no correlation between components or neighbors in id, within 4 standard errors."""
    n = 200_000
    x = normals(np.arange(n), Draw(42, Stream.VELOCITIES, 0))
    error = 4.0 / math.sqrt(3 * n)
    assert abs(x.mean()) < error
    assert abs((x**2).mean() - 1) < error * math.sqrt(2)
    assert abs((x**3).mean()) < error * math.sqrt(15)
    assert abs((x**4).mean() - 3) < error * math.sqrt(96)
    pairs = [x[:, 0] * x[:, 1], x[:, 0] * x[:, 2], x[:, 1] * x[:, 2], x[1:, 0] * x[:-1, 0], x[1:, 0] * x[:-1, 2]]
    assert all(abs(p.mean()) < 4.0 / math.sqrt(n) for p in pairs)
