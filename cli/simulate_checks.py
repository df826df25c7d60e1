"""Options of ``simulate-carrier`` that do not count together are refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import InputError

if TYPE_CHECKING:
    import typer

_COUNT_WITH_EXPORT = frozenset({"devices", "seed", "month", "export"})
_COUNT_FOR_THINGSPACE = frozenset(
    {
        "integration", "devices", "seed", "month", "host", "port", "ready_file", "credential_ref",
        "requests_per_second", "single_call", "strict_throttle", "faults",
    }
)  # fmt: skip
_IN_THE_FILE = frozenset({"devices", "seed", "port", "credential_ref"})


def refuse_idle_options(ctx: typer.Context, *, is_thingspace: bool) -> None:
    """Refuse an option that was given and would change nothing.

    Raises
    ------
    InputError
        Names the option, the one that rules it out, and what to do.
    """
    given = _given(ctx)
    if "export" in given:
        _refuse_others(ctx, given, _COUNT_WITH_EXPORT, "--export")
    if is_thingspace:
        _refuse_others(ctx, given, _COUNT_FOR_THINGSPACE, "--integration thingspace")
    for name in given:
        if "accounts" in given and name in _IN_THE_FILE:
            msg = f"{given[name]} does not count with --accounts: write {name} into the file"
            raise InputError(msg)


def _refuse_others(
    ctx: typer.Context, given: dict[str, str], counting: frozenset[str], ruler: str
) -> None:
    for name, option in given.items():
        if name not in counting:
            names = _options(ctx)
            allowed = ", ".join(names[other] for other in names if other in counting)
            msg = f"{option} does not count with {ruler}; these do: {allowed}"
            raise InputError(msg)


def _given(ctx: typer.Context) -> dict[str, str]:
    """Parameters that stand on the command line -> how they are written there."""
    given = {}
    for name, option in _options(ctx).items():
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            given[name] = option
    return given


def _options(ctx: typer.Context) -> dict[str, str]:
    return {
        param.name: param.opts[0]
        for param in ctx.command.params
        if param.name not in (None, "help")
    }
