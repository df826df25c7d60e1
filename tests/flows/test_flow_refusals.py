"""What the flow refuses, before any side effect, and who is told (S1, S3, S4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from core.errors import InputError, NotAvailableError, SessionBusyError
from core.sessions.lifecycle import Author, Owner, open_session, parse_parameters
from tests.flows.deployment import Deployment

pytestmark = pytest.mark.prefect


def run(**parameters: Any) -> Any:
    from flows.optimize_service_provider import optimize_service_provider

    return optimize_service_provider(**parameters)


@pytest.mark.parametrize(
    ("parameters", "error", "words"),
    [
        ({"kind": "mobility"}, NotAvailableError, "mobility"),
        ({"usage_basis": "projected"}, NotAvailableError, "projected"),
        ({"apply_changes": True}, NotAvailableError, "apply_changes"),
        ({"rate_plan_sequences": [["A", "A"]]}, InputError, "rate_plan_sequences"),
        ({"override": {"token_id": "t", "reason": "r"}}, NotAvailableError, "override"),
        ({"customer_id": 1}, NotAvailableError, "customer_id"),
        ({"dry_run": True, "apply_changes": True}, InputError, "dry_run"),
        ({"tenant_id": 999}, InputError, "tenant"),
        ({"service_provider_id": 999}, InputError, "999"),
        ({"billing_period_id": 999}, InputError, "999"),
    ],
)
def test_a_wrong_or_unbuilt_parameter_is_refused_before_any_side_effect_and_amop_is_told(
    deployment: Deployment, parameters: dict[str, Any], error: type[Exception], words: str
) -> None:
    given = {"service_provider_id": deployment.provider_id, **parameters}
    with pytest.raises(error, match=words):
        run(**given, additional_data={"ticket": 7})
    assert deployment.sessions() == []
    [message] = deployment.receiver.messages()
    assert (message["type"], message["sessionId"], message["sessionGuid"]) == (
        "ErrorMessage", None, None,
    )  # fmt: skip
    assert words in message["errorMessage"]
    assert message["additionalInfo"].startswith("flow run ")
    assert message["additionalData"] == {"ticket": 7}


def test_a_parameter_of_the_wrong_type_is_told_to_amop_too(deployment: Deployment) -> None:
    from prefect.exceptions import ParameterTypeError

    with pytest.raises(ParameterTypeError, match="kind"):
        run(service_provider_id=deployment.provider_id, kind="nonsense")
    [message] = deployment.receiver.messages()
    assert message["type"] == "ErrorMessage"
    assert "kind" in message["errorMessage"]


def test_a_run_that_meets_a_busy_tenant_names_the_running_session(deployment: Deployment) -> None:
    request = parse_parameters(
        service_provider_id=deployment.provider_id, billing_period_id=deployment.period_id
    )
    running = open_session(
        deployment.engine,
        request,
        tenant_id=deployment.tenant_id,
        owner=Owner(run_id="another-run", host="another-host", pid=1),
        triggered_by=Author(actor="somebody", source="api"),
        now=datetime.now(tz=UTC),
    )
    with pytest.raises(SessionBusyError, match=f"{running.session_id}"):
        run(service_provider_id=deployment.provider_id)
    assert len(deployment.sessions()) == 1
    refusals = [m for m in deployment.receiver.messages() if m["type"] == "ErrorMessage"]
    assert len(refusals) == 1
    assert str(running.session_id) in refusals[0]["errorMessage"]


def test_a_session_that_fails_is_failed_in_the_database_and_told_with_its_cause(
    deployment: Deployment,
) -> None:
    with pytest.raises(InputError, match="NOT_SET"):
        run(service_provider_id=deployment.provider_id)
    [session] = deployment.sessions()
    assert (session.State, session.FailedInState) == ("FAILED", "SYNCING")
    assert "NOT_SET" in session.ErrorMessage
    errors = [m for m in deployment.receiver.messages() if m["type"] == "ErrorMessage"]
    assert [m["sessionId"] for m in errors] == [str(session.Id)]
    assert deployment.unsent() == 0


def test_a_missing_parameter_is_told_to_amop(deployment: Deployment) -> None:
    """Prefect starts the flow with what it got; the hook tells what came of it."""
    from prefect.client.schemas.objects import FlowRun
    from prefect.states import Crashed

    from flows.optimize_service_provider import optimize_service_provider
    from flows.refusal import tell_unstarted

    run_id = uuid4()
    flow_run = FlowRun(id=run_id, flow_id=uuid4(), parameters={"additional_data": {"a": 1}})
    state = Crashed(message="Process exited with status code: 1")
    for _ in range(2):  # told once, although failure and crash both call it
        tell_unstarted(optimize_service_provider, flow_run, state)
    [message] = deployment.receiver.messages()
    assert message["additionalInfo"] == f"flow run {run_id}"
    assert message["additionalData"] == {"a": 1}


def test_the_flow_keeps_its_parameters_when_it_is_pickled_and_describes_each() -> None:
    """As `flow.serve` does with it, and as the Prefect UI shows it (S4)."""
    import cloudpickle
    from prefect.utilities.callables import parameter_schema

    from flows.optimize_service_provider import optimize_service_provider

    copy = cloudpickle.loads(cloudpickle.dumps(optimize_service_provider))
    checked = copy.validate_parameters({"service_provider_id": 1, "kind": "m2m"})
    assert checked["service_provider_id"] == 1
    properties = parameter_schema(optimize_service_provider).properties
    assert set(properties) == {
        "service_provider_id", "billing_period_id", "tenant_id", "optimization_session_id", "kind",
        "customer_id", "has_synced", "full_sync", "usage_basis", "charge_type",
        "skip_lower_cost_check", "rate_plan_sequences", "apply_changes", "dry_run", "override",
        "additional_data",
    }  # fmt: skip
    assert [name for name, shown in properties.items() if not shown.get("description")] == []
