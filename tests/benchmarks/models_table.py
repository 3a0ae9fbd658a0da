"""How exact every model class is: values, integrals and derivatives, beside mpmath and Gammapy.

    python -m tests.benchmarks.models_table [--sets 200] [--slow 200]

Each line is the worst over seeded random parameter sets inside sensible limits. The tests
(tests/models/test_model_numbers.py) hold the same numbers to the bounds in the last line. Of
shapes, integrals over pixels are tested with the likelihood; the point source and naima have no
formula to compare with.
"""

from __future__ import annotations

import argparse
import math
import warnings

from tests.models.model_cases import CASES, ELSEWHERE
from tests.models.model_numbers import BOUNDS, Numbers, measure

COLUMNS = {
    "values": "from mpmath",
    "theirs": "Gammapy's",
    "between": "from Gammapy",
    "integrals": "integrals",
    "derivatives": "derivatives",
}


def line(numbers: Numbers) -> str:
    """Cells of a class."""
    cells = [getattr(numbers, column) for column in COLUMNS]
    return "".join(f"{'-' if math.isnan(x) else f'{x:.1e}':>14}" for x in cells)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--slow", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'':<44}" + "".join(f"{title:>14}" for title in COLUMNS.values()) + "  in bounds")
    for kind, name in CASES:
        numbers = measure(kind, name, options.sets, options.slow)
        is_good = all(
            math.isnan(getattr(numbers, column))
            or getattr(numbers, column) <= BOUNDS.get((name, column), BOUNDS[column])
            for column in ("values", "excess", "integrals", "derivatives")
        )
        print(f"{name:<44}{line(numbers)}  {'yes' if is_good else 'NO'}", flush=True)
    for kind, name in sorted(ELSEWHERE):
        print(f"{name:<44}  elsewhere ({kind})")
    bounds = "".join(f"{BOUNDS.get(c, math.nan):>14.0e}" for c in COLUMNS)
    print(f"{'bound':<44}{bounds}")


if __name__ == "__main__":
    main()
