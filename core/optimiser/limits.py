"""What no answer may violate: plan lists, locked SIMs, numbers of SIMs per plan, changes (O8).

* :func:`violations`: whether an assignment keeps every constraint, checked exactly.
* :func:`require_feasible`: whether any assignment does, and which constraint is in the way.
* :func:`least_change_assignment`: one that does, with the fewest changes.

The last two count SIMs instead of looking at each: SIMs with the same present plan, as far as it has
a limit, and the same plans with limits on their list are one class. Sending the classes' numbers to
plans is a small transportation problem, which :mod:`core.optimiser.change_flow` solves in whole
numbers. The least saving per change is no part of this: without changes it is kept.
"""

from __future__ import annotations

import numpy as np

from core.errors import InfeasibleError
from core.optimiser.change_classes import ChangeClasses, change_classes
from core.optimiser.change_flow import FlowNetwork
from core.problem import BoolArray, Int32Array, Problem


def violations(problem: Problem, assignment: Int32Array) -> str | None:
    """Say which constraint an assignment violates; None if it keeps them all.

    Parameters
    ----------
    assignment
        Shape ``(n,)``: plan numbers of the tariff.
    """
    codes = problem.tariff.codes
    is_changed = assignment != problem.current
    wrong = np.flatnonzero(is_changed & ~_may_get(problem, assignment))
    if len(wrong):
        row = int(wrong[0])
        return f"the SIM in row {row} of the unit may not get rate plan {codes[assignment[row]]!r}"
    if not problem.has_limits:
        return None
    sims = np.bincount(assignment, minlength=len(codes))
    for plan in np.flatnonzero((sims < problem.min_sims) | (sims > problem.max_sims)).tolist():
        least, most = int(problem.min_sims[plan]), int(problem.max_sims[plan])
        limit = f"min is {least}" if sims[plan] < least else f"max is {most}"
        return f"rate plan {codes[plan]!r}: {limit}, and {sims[plan]} SIMs are on it"
    changes = int(np.count_nonzero(is_changed))
    if problem.max_changes is not None and changes > problem.max_changes:
        return f"max_changes is {problem.max_changes}, and {changes} SIMs change"
    return None


def require_feasible(problem: Problem) -> None:
    """Make sure that some assignment keeps every constraint.

    Raises
    ------
    InfeasibleError
        Naming a constraint that cannot be kept, and by how much it is missed.
    """
    if problem.has_limits:
        _fewest_changes(problem, change_classes(problem))


def least_change_assignment(problem: Problem) -> Int32Array:
    """Find an assignment that keeps every constraint with the fewest changes.

    Of the SIMs of a class the first rows keep their plan; the others go to plans in ascending order
    of their numbers. A SIM that has to leave for a plan without limits gets the first such plan of
    its list.

    Returns
    -------
    Int32Array
        Shape ``(n,)``: plan numbers.

    Raises
    ------
    InfeasibleError
        If there is none, as :func:`require_feasible`.
    """
    if not problem.has_limits:
        return problem.current.copy()
    classes = change_classes(problem)
    return classes.spread(problem, _fewest_changes(problem, classes))


def _may_get(problem: Problem, assignment: Int32Array) -> BoolArray:
    """Whether each SIM may change, and has the plan of ``assignment`` on its group's list."""
    listed = np.zeros((len(problem.groups), len(problem.tariff.codes)), dtype=bool)
    for g, group in enumerate(problem.groups):
        listed[g, list(group.eligible)] = not group.is_fixed
    return listed[problem.group, assignment] & ~problem.is_locked


def _fewest_changes(problem: Problem, classes: ChangeClasses) -> list[list[int]]:
    """SIMs to send from each class to each of its targets."""
    _check_immovable(problem, classes)
    n_classes, n_plans = len(classes.sizes), len(classes.limited) + 1
    source, sink, first_plan = n_classes + n_plans, n_classes + n_plans + 1, n_classes
    network = FlowNetwork(n_nodes=n_classes + n_plans + 2)
    # Larger than what any detour through the network can save in changes.
    reward = 2 * network.n_nodes
    supplies, arcs = [], []
    for number, (size, targets) in enumerate(zip(classes.sizes, classes.targets, strict=True)):
        supplies.append(network.add(source, number, size, 0))
        arcs.append(
            [
                network.add(number, first_plan + place, size, int(place != targets[0]))
                for place in targets
            ]
        )
    needs = []
    for place, plan in enumerate(classes.limited):
        needed = max(0, int(problem.min_sims[plan]) - classes.immovable[plan])
        most = min(int(problem.max_sims[plan]) - classes.immovable[plan], problem.n_sims)
        needs.append(network.add(first_plan + place, sink, min(needed, most), -reward))
        network.add(first_plan + place, sink, max(0, most - needed), 0)
    network.add(first_plan + len(classes.limited), sink, problem.n_sims, 0)
    network.fill(source, sink)
    crowded = [k for k, arc in enumerate(supplies) if network.room[arc]]
    if crowded:
        reached = network.reached(crowded)
        full = [p for k, p in enumerate(classes.limited) if first_plan + k in reached]
        _raise_no_room(problem, full, sum(network.room[supplies[k]] for k in crowded))
    for place, plan in enumerate(classes.limited):
        _check_met(problem, plan, classes.immovable[plan] + network.flow(needs[place]))
    flows = [[network.flow(arc) for arc in row] for row in arcs]
    _check_changes(problem, sum(sum(row[1:]) for row in flows))
    return flows


def _check_immovable(problem: Problem, classes: ChangeClasses) -> None:
    """Refuse limits that the SIMs break which keep their plan in any case."""
    for plan in classes.limited:
        count, most = classes.immovable[plan], int(problem.max_sims[plan])
        if count > most:
            msg = (
                f"rate plan {problem.tariff.codes[plan]!r}: max is {most}, but {count} SIMs on it "
                "are locked or in a group that is skipped: raise max, or unlock SIMs"
            )
            raise InfeasibleError(msg)


def _raise_no_room(problem: Problem, full: list[int], missing: int) -> None:
    named = ", ".join(f"{problem.tariff.codes[p]!r} (max {problem.max_sims[p]})" for p in full)
    msg = (
        f"no plan is left for {missing} SIMs that can only be on rate plans with a max, all of them "
        f"full: {named}: raise a max, or put other plans on the SIMs' list"
    )
    raise InfeasibleError(msg)


def _check_met(problem: Problem, plan: int, most: int) -> None:
    least = int(problem.min_sims[plan])
    if most >= least:
        return
    able = int(np.count_nonzero(_can_be_on(problem, plan)))
    why = (
        f"only {able} SIMs have it or may get it"
        if able < least
        else f"the limits of all plans together leave it {least - most} SIMs short"
    )
    msg = f"rate plan {problem.tariff.codes[plan]!r}: min is {least}, but {why}: lower min"
    raise InfeasibleError(msg)


def _can_be_on(problem: Problem, plan: int) -> BoolArray:
    """Whether each SIM has a plan or may get it."""
    is_on_it: BoolArray = problem.current == plan
    return is_on_it | _may_get(problem, np.full(problem.n_sims, plan, dtype=np.int32))


def _check_changes(problem: Problem, changes: int) -> None:
    if problem.max_changes is not None and changes > problem.max_changes:
        msg = (
            f"max_changes is {problem.max_changes}, but the limits of the rate plans need at least "
            f"{changes} changes: raise max_changes to {changes}"
        )
        raise InfeasibleError(msg)
