"""The parameters of `optimize-service-provider`, checked before any side effect (S4).

A value that can never be right raises :class:`InputError`; one whose part is not built yet raises
:class:`NotAvailableError`. Nothing is ignored and nothing is corrected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from core.amop.messages import TOTALS_KEY
from core.domain import ChargeType, Portal, UsageBasis
from core.errors import InputError, NotAvailableError

MAX_ID = (1 << 63) - 1
"""Largest id of a row."""

MAX_GIVEN_SEQUENCES = 1024
"""Most sequences that a run may bring."""

MAX_SEQUENCE_PLANS = 64
"""Most plans of one of them."""

_Enum = TypeVar("_Enum", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What one run of a service provider was asked to do; every value is checked.

    Attributes
    ----------
    service_provider_id
        The carrier account.
    billing_period_id
        Which period; None until the current one is looked up, see :meth:`for_period`.
    tenant_id
        Tenant that the provider must belong to; None: not checked.
    optimization_session_id
        Session to continue; None: a new one, or one whose run died.
    has_synced
        True skips the synchronisation.
    full_sync
        True reads the whole account again, False only what changed; None leaves it to C6.
    usage_basis
        Usage that plans are chosen by. Always ``actual`` until projection exists.
    rate_plan_sequences
        Sequences of plan codes that replace generated ones where they fit (O5); None: all generated.
    apply_changes
        Whether changes go to the carrier. Always False until applying exists.
    additional_data
        The caller's object, echoed unchanged in every AMOP message (A1). Treat as read-only.
    """

    service_provider_id: int
    billing_period_id: int | None = None
    tenant_id: int | None = None
    optimization_session_id: int | None = None
    kind: Portal = Portal.M2M
    has_synced: bool = False
    full_sync: bool | None = None
    usage_basis: UsageBasis = UsageBasis.ACTUAL
    charge_type: ChargeType = ChargeType.RATE_AND_OVERAGE
    skip_lower_cost_check: bool = False
    rate_plan_sequences: tuple[tuple[str, ...], ...] | None = None
    apply_changes: bool = False
    dry_run: bool = False
    additional_data: dict[str, object] = field(default_factory=dict)

    def for_period(self, billing_period_id: int) -> RunRequest:
        """Give the same request for a period that was looked up."""
        return replace(self, billing_period_id=billing_period_id)

    def as_json(self) -> dict[str, object]:
        """Express the request as a JSON object, for the session row and the audit trail."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if self.rate_plan_sequences is not None:
            values["rate_plan_sequences"] = [list(codes) for codes in self.rate_plan_sequences]
        return {k: str(v) if isinstance(v, StrEnum) else v for k, v in values.items()}


def parse_parameters(
    *,
    service_provider_id: int,
    billing_period_id: int | None = None,
    tenant_id: int | None = None,
    optimization_session_id: int | None = None,
    kind: str = "m2m",
    customer_id: int | None = None,
    has_synced: bool = False,
    full_sync: bool | None = None,
    usage_basis: str | None = None,
    charge_type: str = "rate_and_overage",
    skip_lower_cost_check: bool = False,
    rate_plan_sequences: Sequence[Sequence[str]] | None = None,
    apply_changes: bool | None = None,
    dry_run: bool = False,
    override: Mapping[str, object] | None = None,
    additional_data: Mapping[str, object] | None = None,
) -> RunRequest:
    """Check the parameters of S4, given as the flow receives them.

    Raises
    ------
    InputError
        If a value is of the wrong type, unknown, or contradicts another; the message names the
        parameter, its value and what is allowed.
    NotAvailableError
        If a value asks for a part that this version does not have.
    """
    request = RunRequest(
        service_provider_id=_required_id("service_provider_id", service_provider_id),
        billing_period_id=_optional_id("billing_period_id", billing_period_id),
        tenant_id=_optional_id("tenant_id", tenant_id),
        optimization_session_id=_optional_id("optimization_session_id", optimization_session_id),
        kind=_one_of("kind", kind, Portal),
        has_synced=_flag("has_synced", has_synced),
        full_sync=None if full_sync is None else _flag("full_sync", full_sync),
        usage_basis=UsageBasis.ACTUAL
        if usage_basis is None
        else _one_of("usage_basis", usage_basis, UsageBasis),
        charge_type=_one_of("charge_type", charge_type, ChargeType),
        skip_lower_cost_check=_flag("skip_lower_cost_check", skip_lower_cost_check),
        rate_plan_sequences=None
        if rate_plan_sequences is None
        else _sequences("rate_plan_sequences", rate_plan_sequences),
        apply_changes=apply_changes is not None and _flag("apply_changes", apply_changes),
        dry_run=_flag("dry_run", dry_run),
        additional_data=_json_object("additional_data", additional_data),
    )
    _refuse_contradictions(request)
    _refuse_unbuilt(request)
    for name, value in (
        ("customer_id", customer_id),
        ("override", override),
    ):
        if value is not None:
            raise NotAvailableError(f"parameter {name}")
    return request


def restore_request(stored: Mapping[str, object]) -> RunRequest:
    """Read what :meth:`RunRequest.as_json` wrote, and check it again.

    Raises
    ------
    InputError
        If it holds a name or value that this version does not know.
    """
    try:
        return parse_parameters(**stored)  # type: ignore[arg-type]
    except TypeError as exc:
        raise InputError(f"the stored parameters of the session cannot be read: {exc}") from exc


def echoable(additional_data: object) -> dict[str, object]:
    """Take what a refused run's message can echo of the caller's object: all of it, or nothing.

    Nothing where the object itself is what is wrong: no JSON object, or not expressible in JSON.
    """
    try:
        return _json_object("additional_data", additional_data)
    except InputError:
        return {}


def _refuse_contradictions(request: RunRequest) -> None:
    if request.dry_run and request.apply_changes:
        raise InputError(
            "dry_run=true and apply_changes=true contradict each other: "
            "a dry run changes nothing at the carrier; give one of the two"
        )
    if request.has_synced and request.full_sync:
        raise InputError(
            "has_synced=true and full_sync=true contradict each other: "
            "the first skips the synchronisation that the second asks for; give one of the two"
        )
    if TOTALS_KEY in request.additional_data:
        raise InputError(
            f"additional_data must not have the key {TOTALS_KEY!r}: "
            "the Completed message puts the session's totals there; use another name"
        )


def _refuse_unbuilt(request: RunRequest) -> None:
    if request.kind is not Portal.M2M:
        raise NotAvailableError(f"kind={request.kind.value!r}", "use kind='m2m'")
    if request.usage_basis is not UsageBasis.ACTUAL:
        raise NotAvailableError(
            f"usage_basis={request.usage_basis.value!r}", "use usage_basis='actual'"
        )
    if request.apply_changes:
        raise NotAvailableError("apply_changes=true", "leave it out; changes are only reported")


def _required_id(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ID:
        raise InputError(f"{name} is {_shown(value)}; it must be a whole number from 1")
    return value


def _optional_id(name: str, value: object) -> int | None:
    return None if value is None else _required_id(name, value)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{name} is {_shown(value)}; it must be true or false")
    return value


def _one_of(name: str, value: object, allowed: type[_Enum]) -> _Enum:
    for member in allowed:
        if value == member.value:
            return member
    listed = ", ".join(repr(member.value) for member in allowed)
    raise InputError(f"{name} is {_shown(value)}; it must be one of {listed}")


def _sequences(name: str, value: object) -> tuple[tuple[str, ...], ...]:
    """Check a list of lists of plan codes; which plans there are is known only later."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InputError(f"{name} is {_shown(value)}; it must be a list of lists of plan codes")
    if not 1 <= len(value) <= MAX_GIVEN_SEQUENCES:
        raise InputError(
            f"{name} has {len(value)} sequences; 1 to {MAX_GIVEN_SEQUENCES} are allowed, and without "
            "the parameter they are generated"
        )
    first_place: dict[tuple[str, ...], int] = {}
    for place, codes in enumerate(value, start=1):
        sequence = _sequence(f"{name}: sequence {place}", codes)
        if sequence in first_place:
            raise InputError(
                f"{name}: sequence {place} is the same as sequence {first_place[sequence]}; keep one"
            )
        first_place[sequence] = place
    return tuple(first_place)


def _sequence(what: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InputError(f"{what} is {_shown(value)}; it must be a list of plan codes")
    if not 1 <= len(value) <= MAX_SEQUENCE_PLANS:
        raise InputError(f"{what} has {len(value)} plans; 1 to {MAX_SEQUENCE_PLANS} are allowed")
    seen: list[str] = []
    for code in value:
        if not isinstance(code, str) or not code:
            raise InputError(f"{what} names {_shown(code)}; a plan code is a text and not empty")
        if code in seen:
            raise InputError(f"{what} names the plan {_shown(code)} twice; a sequence has it once")
        seen.append(code)
    return tuple(seen)


def _json_object(name: str, value: object) -> dict[str, object]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{name} is {_shown(value)}; it must be a JSON object")
    try:
        copy: dict[str, object] = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InputError(f"{name} holds a value that JSON cannot express: {exc}") from exc
    return copy


def _shown(value: object) -> str:
    """Show a value as a message does: short, and never a whole object."""
    if isinstance(value, (str, int, float)):
        return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}..."
    return f"of type {type(value).__name__}" if value is not None else "missing"
