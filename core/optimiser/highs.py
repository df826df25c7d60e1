"""Makes a HiGHS solver that answers alike on every run: one thread, fixed seed, no output."""

from __future__ import annotations

from typing import Any


def quiet_solver(**options: bool | int | float | str) -> Any:
    """Make an empty model.

    Parameters
    ----------
    options
        Further options of HiGHS, by their names there.
    """
    import highspy  # a large library: loaded where a unit needs it

    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    common: dict[str, bool | int | float | str] = {
        "output_flag": False, "threads": 1, "parallel": "off", "random_seed": 0,
    }  # fmt: skip
    for option, setting in {**common, **options}.items():
        solver.setOptionValue(option, setting)
    return solver
