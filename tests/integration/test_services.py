"""The servers and libraries that the suite starts or loads are there and answer."""

from __future__ import annotations

import ctypes.util
import subprocess
import sys

import pytest
import redis


@pytest.mark.redis
def test_a_redis_server_of_our_own_answers(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping() is True
        client.set("answer", "42")
        assert client.get("answer") == b"42"


def test_pyodbc_finds_the_driver_manager_of_the_system(service_check) -> None:
    service_check(ctypes.util.find_library("odbc"), package="unixodbc")
    # In a process of its own: what a driver manager has once not found, it does not look for again.
    script = "import pyodbc; pyodbc.connect('DSN=none-of-this-name', timeout=1)"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "IM002" in ran.stderr
