"""Checks what a run as a whole claims: its least saving (O8) and its taxes (B6)."""

from __future__ import annotations

import polars as pl

from core.billing.taxes import Taxes, tax_sims
from core.errors import CheckFailedError
from core.reports.certificate_reader import CertificateFile
from core.units import exact_money_text


def check_min_saving(claimed: CertificateFile, rows: pl.DataFrame) -> None:
    """Refuse a run that changes plans and saves less than it has to.

    Parameters
    ----------
    rows
        Of ``assignments.parquet``, with verified costs.

    Raises
    ------
    CheckFailedError
        With both amounts.
    """
    changed = rows["recommended_rate_plan"].ne_missing(rows["current_rate_plan"])
    changes, savings = int(changed.sum()), int(rows["savings_micros"].sum())
    if changes and savings < claimed.min_saving_micros:
        raise CheckFailedError(
            f"the run changes {changes} SIMs and saves {exact_money_text(savings)}: its least saving "
            f"is {exact_money_text(claimed.min_saving_micros)}"
        )


def check_taxes(claimed: CertificateFile, rows: pl.DataFrame) -> tuple[Taxes, Taxes] | None:
    """Compare the taxes of every SIM with its charges at the rates of the file.

    Parameters
    ----------
    rows
        Of ``assignments.parquet``, with verified charges.

    Returns
    -------
    tuple or None
        Taxes of all priced SIMs on today's and on the recommended plans; None if the run has none.

    Raises
    ------
    CheckFailedError
        Naming the first SIM and both amounts.
    """
    priced = rows.filter(pl.col("unit_id").is_not_null())
    if claimed.taxes is None:
        for name in ("current_tax_micros", "recommended_tax_micros"):
            nothing = pl.Series([None] * priced.height, dtype=pl.Int64)
            _same_of_sims(priced, name, nothing, "by a run without taxes")
        return None
    sides = []
    for side in ("current", "recommended"):
        rate, overage = (priced[f"{side}_{part}_micros"].to_numpy() for part in ("rate", "overage"))
        taxes = tax_sims(rate, overage, priced["jurisdiction"], claimed.taxes)
        expected = pl.Series(taxes.sim_micros)
        _same_of_sims(priced, f"{side}_tax_micros", expected, "by its charges")
        sides.append(taxes)
    return sides[0], sides[1]


def _same_of_sims(rows: pl.DataFrame, name: str, expected: pl.Series, by: str) -> None:
    wrong = rows[name].ne_missing(expected)
    if wrong.any():
        row = wrong.arg_true()[0]
        raise CheckFailedError(
            f"{name} of SIM {rows['iccid'][row]} is {rows[name][row]}, {by} {expected[row]}"
        )
