"""Conditions on atoms: what they mean, and what has no meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic_core import PydanticCustomError

from allegro_md.config.expression import Expression

RNG = np.random.default_rng(1)
N = 200
ATOMS: dict[str, Any] = {name: RNG.uniform(-5.0, 25.0, N) for name in ("x", "y", "z")}
ATOMS |= {name: RNG.uniform(0.0, 1.0, N) for name in ("fx", "fy", "fz")}
ATOMS |= {"id": np.arange(N, dtype=np.float64), "mass": RNG.choice([63.546, 107.87], N)}
ATOMS |= {"element": np.where(ATOMS["mass"] > 100, "Ag", "Cu")}


@pytest.mark.parametrize(
    "text",
    [
        "z < 10 and element == 'Cu'",
        "5 < z <= 15 or not (fx > 0.5 and fy != 0.1)",
        "id in [0, 2, 199] or element not in ('Cu', 'Zn')",
        "(x - 10)**2 + (y - 10)**2 < 5**2",
        "-x + 2*y >= z / 3 % 4",
        "mass > 100 and 'Ag' == element",
        "1 < 2",
        "id % 2 == 0",
    ],
)
def test_the_meaning_is_that_of_python(text: str) -> None:
    """Against Python's own evaluation, atom by atom."""
    rows = [{name: values[i].item() for name, values in ATOMS.items()} for i in range(N)]
    wanted = [bool(eval(text, {"__builtins__": {}}, row)) for row in rows]  # noqa: S307  of the texts above only
    found = Expression(text)(ATOMS)
    assert found.dtype == np.bool_ and found.tolist() == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("z", "is a number, not a condition"),
        ("z <", "cannot be read"),
        ("zz < 3", "'zz' is no property of an atom"),
        ("Cu == element", "'Cu' is no property"),
        ("element == 'Cx'", "'Cx' is not a chemical symbol"),
        ("element < 'Cu'", "cannot be compared"),
        ("element == 3", "cannot be compared"),
        ("element in ('Cu')", "needs a list"),
        ("z is 3", "cannot be compared"),
        ("z and x < 1", "is a number where a condition should stand"),
        ("__import__('os') == 1", "has no meaning here"),
        ("x.real < 1", "has no meaning here"),
        ("x[0] < 1", "has no meaning here"),
        ("(lambda: 1)() < 2", "has no meaning here"),
        ("[i for i in (1, 2)] == 1", "has no meaning here"),
        ("9**9**9 < x", "is no power"),
        ("x ** y < 1", "is no power"),
        ("id == 1e400", "is no number"),
        ("x < True", "is no number"),
        ("z < 1 " * 400, "longer than 1000 characters"),
        ("z < " + "(" * 300 + "1" + ")" * 300, "cannot be read"),
    ],
)
def test_what_has_no_meaning(text: str, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        Expression(text)
    assert message in str(caught.value)


def test_numbers_that_are_not_finite_compare_as_ieee_754_says() -> None:
    assert not Expression("x % 0 < 1")(ATOMS).any() and Expression("x / 0 != 1")(ATOMS).all()
