"""Philox against its published vectors and an implementation in Python integers; the normal deviates against theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import mp, mpf
from numpy.typing import NDArray
from scipy import stats

from allegro_md.rng import Draw, Stream, directions, normals, philox_words, radii

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


EDGES = np.array([0, 1, 2**50, 2**51 - 1, 2**51, 2**52 - 2, 2**52 - 1, 2**49 - 1, 2**49, 3 * 2**49, 7 * 2**49 - 1])
"""Numbers of 52 bits where a case distinction is near: the ends, one half, eighths of a turn."""


def of_52_bits(n: int) -> NDArray[np.int64]:
    """Whole numbers of 52 bits, the edges and their neighbors of sqrt(½) among them."""
    root = math.isqrt(2**103)  # 2⁵² sqrt(½)
    near = root + np.arange(-3, 4)
    small = 2 ** np.arange(50)
    return np.concatenate([EDGES, near, near // 2, small, np.random.default_rng(3).integers(0, 2**52, n)])


def test_radii_to_the_last_digits() -> None:
    """sqrt(−2 ln x) against 40 digits, relatively also where x is next to 1 or next to 0."""
    u = of_52_bits(400)
    out = np.empty(len(u))
    radii(u, out)
    with mp.workdps(40):
        exact = [mp.sqrt(-2 * mp.log((mpf(int(n)) + mpf(1) / 2) / 2**52)) for n in u]
        assert max(abs(mpf(float(r)) / e - 1) for r, e in zip(out, exact, strict=True)) < 4e-16


def test_directions_to_the_last_digits() -> None:
    """Cosine and sine against 40 digits."""
    w = of_52_bits(400)
    cosine, sine = np.empty(len(w)), np.empty(len(w))
    directions(w, cosine, sine)
    with mp.workdps(40):
        turns = [(mpf(int(n)) + mpf(1) / 2) / 2**52 for n in w]
        for got, function in ((cosine, mp.cos), (sine, mp.sin)):
            exact = [function(2 * mp.pi * t) for t in turns]
            assert max(abs(mpf(float(c)) - e) for c, e in zip(got, exact, strict=True)) < 3e-16


def test_the_same_bits_from_plain_operations() -> None:
    """Each operation rounded on its own, by numpy: no fused multiply-add and no library function is in it."""
    u = of_52_bits(5000)
    out, cosine, sine = (np.empty(len(u)) for _ in range(3))
    radii(u, out)
    directions(u, cosine, sine)

    x = (u.astype(np.float64) + 0.5) * 2.0**-52
    m, k = np.frexp(x)
    low = m < math.sqrt(0.5)
    m, k = np.where(low, 2.0 * m, m), (k - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    square, series = s * s, np.full(len(u), 1.0 / 25)
    for n in range(11, -1, -1):
        series = series * square + 1.0 / (2 * n + 1)
    assert np.array_equal(np.sqrt(-2.0 * (k * 0.6931471805599453 + 2.0 * s * series)), out)

    quarters = (u + 2**49) // 2**50
    y = ((u - quarters * 2**50).astype(np.float64) + 0.5) * (2.0 * math.pi * 2.0**-52)
    square = y * y
    along, across = np.full(len(u), -1.0 / math.factorial(18)), np.full(len(u), 1.0 / math.factorial(17))
    for n in range(8, -1, -1):
        along = along * square + (-1.0) ** n / math.factorial(2 * n)
    for n in range(7, -1, -1):
        across = across * square + (-1.0) ** n / math.factorial(2 * n + 1)
    across = across * y
    turned = [(along, across), (-across, along), (-along, -across), (across, -along), (along, across)]
    for got, part in ((cosine, 0), (sine, 1)):
        assert np.array_equal(np.choose(quarters, [pair[part] for pair in turned]), got)


def test_distribution_and_tails() -> None:
    """Kolmogorov–Smirnov, and as many deviates beyond 3, 4 and 4.5 standard deviations as there should be."""
    n = 1_000_000
    x = normals(np.arange(n), Draw(11, Stream.LANGEVIN, 3)).ravel()
    assert stats.kstest(x, "norm").pvalue > 0.01
    for limit in (3.0, 4.0, 4.5):
        for count in (np.sum(x > limit), np.sum(x < -limit)):
            assert stats.binomtest(int(count), 3 * n, float(stats.norm.sf(limit))).pvalue > 0.005
    assert 4.8 < np.abs(x).max() < 6.5


@pytest.mark.parametrize("component", range(3))
def test_independence(component: int) -> None:
    """No correlation, of deviates nor of their squares, with other components, ids, steps and parts of steps."""
    n = 300_000
    ids, draw = np.arange(n), Draw(5, Stream.LANGEVIN, 100)
    x = normals(ids, draw)
    one = x[:, component]
    others = [x[:, k] for k in range(3) if k != component]
    others += [x[np.roll(ids, lag), k] for lag in (1, 2, 8, 512) for k in range(3)]
    others += [normals(ids, draw._replace(step=step))[:, k] for step in (99, 101, 1100) for k in range(3)]
    others += [normals(ids, draw._replace(substep=1))[:, k] for k in range(3)]
    others += [normals(ids, draw._replace(seed=6))[:, k] for k in range(3)]
    for y in others:
        assert abs(np.mean(one * y)) < 4.5 / math.sqrt(n)
        assert abs(np.mean((one * one - 1.0) * (y * y - 1.0))) < 4.5 * 2.0 / math.sqrt(n)
    steps = np.array([normals(ids[:2000], draw._replace(step=step))[:, component] for step in range(300)])
    assert stats.kstest(steps.sum(axis=0) / math.sqrt(300), "norm").pvalue > 0.01
    assert stats.kstest((steps**2).sum(axis=0), stats.chi2(300).cdf).pvalue > 0.01
