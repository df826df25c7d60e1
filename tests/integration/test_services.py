"""The servers and libraries that the suite starts or loads are there and answer."""

from __future__ import annotations

import ctypes.util

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
    import pyodbc

    with pytest.raises(pyodbc.Error, match="IM002"):
        pyodbc.connect("DSN=none-of-this-name", timeout=1)
