"""Deployment settings: the only place that reads the environment (D6).

Prefix ``CARRIER_OPT_``; AMOP's two names stay what they are elsewhere. Secrets are
:class:`pydantic.SecretStr`, so that printing settings never shows one.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.errors import InputError


class Settings(BaseSettings):
    """What differs from deployment to deployment.

    Unknown ``CARRIER_OPT_`` variables are ignored by design of the environment source; every known
    one is checked.
    """

    model_config = SettingsConfigDict(env_prefix="CARRIER_OPT_", frozen=True, extra="forbid")

    database_url: str = Field(
        default="sqlite:///carrier-opt.db",
        description="SQLAlchemy address of the database; SQLite unless set.",
    )
    output_dir: Path = Field(
        default=Path("carrier-opt-output"), description="Folder that reports are written to."
    )
    export_url: str = Field(
        default="carrier-opt-output/export",
        description="Folder or s3://bucket/prefix that devices with usage are exported to (C7).",
    )
    amop_api_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AMOP_API_ENDPOINT", "amop_api_endpoint"),
        description="Address that AMOP 2.0 messages are posted to; none are sent without it.",
    )
    amop_api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("AMOP_API_KEY", "amop_api_key"),
        description="Bearer token for AMOP 2.0.",
    )
    max_rate_plans: int = Field(
        default=15, ge=1, le=64, description="Rate plans a group may have (V3)."
    )
    max_sequences: int = Field(
        default=1024, ge=1, description="Sequences per group in flow runs (O5)."
    )
    first_instance_limit: int = Field(default=64, ge=1, description="Sequences always walked (O5).")
    sequence_batch_size: int = Field(
        default=256, ge=1, description="Later sequences bounded and walked at a time (O5)."
    )
    sims_per_batch: int = Field(
        default=200_000, ge=1, description="SIMs per optimisation batch (S6)."
    )
    max_units_per_batch: int = Field(default=500, ge=1, description="Solve units per batch (S6).")
    workers: int = Field(default=0, ge=0, description="Processes that optimise; 0: one per core.")
    heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="Time between heartbeats (S2)."
    )
    heartbeat_timeout_seconds: float = Field(
        default=60.0, gt=0, description="Silence after which a session may be taken over (S2)."
    )
    window_days: int = Field(
        default=8,
        ge=1,
        le=31,
        description="Last days of the cycle in which scheduled runs start (S1).",
    )
    full_sync_max_age_days: int = Field(
        default=30, ge=0, description="Age of the last full sync after which another is due (C6)."
    )
    retention_days: int = Field(
        default=90,
        ge=1,
        le=36_500,
        description="Age in days from which results of sessions are purged (R5).",
    )
    carrier_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Limit of one carrier call."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Address of the Redis through which workers share an account's rate (C3).",
    )
    credential_keys: SecretStr | None = Field(
        default=None,
        description="Fernet keys of stored credentials, ',' between, or file:/path of them (C8).",
    )


@cache
def load_settings() -> Settings:
    """Read the environment once.

    Raises
    ------
    InputError
        If a variable has a value outside its range; the value is not repeated.
    """
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{_variable(str(problem['loc'][0]))}: {problem['msg']}" for problem in error.errors()
        )
        raise InputError(f"the environment is wrong: {problems}") from None


def _variable(name: str) -> str:
    """Name the variable behind a field, or behind the alias that it was given by."""
    return f"CARRIER_OPT_{name.upper()}" if name in Settings.model_fields else name


def read_environment_variable(name: str) -> str | None:
    """Read one variable, for credentials that are given by reference; None where it is not set."""
    return os.environ.get(name)
