"""Versions of rate plans at the simulated Control Center: who is on which, and what was used there."""

from __future__ import annotations

from core.simulator.account import Ints
from core.simulator.options import SimulatorOptions
from core.simulator.params import whole
from core.simulator.reply import ApiError
from core.simulator.usage import Flags


def newest_version(plan: str, options: SimulatorOptions) -> int:
    """Version of a plan that the catalogue has."""
    return options.versions_in_use[1] if plan in options.plans_with_two_versions else 1


def versions_of_sim(row: int, plan: str, options: SimulatorOptions) -> tuple[int, ...]:
    """Versions of a plan that a SIM has usage on."""
    if plan not in options.plans_with_two_versions:
        return (1,)
    if options.splits_usage_by_version:
        return options.versions_in_use
    return (options.versions_in_use[row % 2],)


def version_asked_for(plan: str, text: str | None, options: SimulatorOptions) -> int | None:
    """Version of a plan that a list of usage is of, by default the newest; None: all together.

    Raises
    ------
    ApiError
        10000028 where the plan has no such version, or the parameter is refused.
    """
    if options.version_answers == "ignored":
        return None
    if options.version_answers == "refused":
        if text is not None:
            raise ApiError(400, "10000028", "Invalid request: unrecognized field ratePlanVersion.")
        return None
    newest = newest_version(plan, options)
    version = whole(text or str(newest), "10000028", "Invalid request: ratePlanVersion.")
    if not 1 <= version <= newest and options.version_answers == "error":
        raise ApiError(400, "10000028", "Invalid request: ratePlanVersion.")
    return version


def rows_on_version(plan: str, rows: Ints, version: int | None, options: SimulatorOptions) -> Ints:
    """Rows of a plan's SIMs that have usage on a version; None: on any."""
    if version is None:
        return rows
    if plan not in options.plans_with_two_versions:
        return rows if version == 1 else rows[:0]
    if version not in options.versions_in_use:
        return rows[:0]
    if options.splits_usage_by_version:
        return rows
    is_on: Flags = rows % 2 == options.versions_in_use.index(version)
    found: Ints = rows[is_on]
    return found


def usage_on_version(
    plan: str, usage: Ints, version: int | None, options: SimulatorOptions
) -> Ints:
    """Of usage on a plan, shape ``(n, 6)``, the part that was used on a version; None: on any."""
    is_split = options.splits_usage_by_version and plan in options.plans_with_two_versions
    if version is None or not is_split:
        return usage
    older: Ints = usage // 2
    return older if version == options.versions_in_use[0] else usage - older
