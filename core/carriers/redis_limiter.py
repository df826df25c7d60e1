"""One limiter per carrier account for all workers of a deployment, through Redis (C3).

What is shared: a lock with the token of the worker whose call is in flight, the queue of those who
wait for it, and the account's pace. Every step is one script, and Redis' clock is everybody's clock.
Workers that were given different rates keep the slowest one, as long as the worker it comes from goes on calling.
The keys name the account by a hash: user names do not belong there.

A lock ends with its holder: it lives for as long as the longest call, and a worker that was killed
frees it by doing nothing. Waiting is first come, first served among those who still ask.

Redis is a help, not a condition: while it cannot be reached each process keeps the pace by itself,
after one warning, and asks again from time to time.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from pydantic import SecretStr
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.carriers.limiter import RECOVERY_CALLS, SLOWEST_FACTOR, AccountLimiter
from core.errors import InputError

LOG = logging.getLogger(__name__)

LOCK_MARGIN_S = 15.0
"""Seconds that a lock outlives the longest call."""

ASK_AGAIN_S = 30.0
"""Seconds after which a Redis that could not be reached is asked again."""

WAITER_LIFETIME_S = 2.0
"""Seconds without asking after which somebody in the queue is taken to be gone."""

ANSWER_TIMEOUT_S = 2.0
"""Seconds that Redis has to answer."""

PACE_LIFETIME_S = 3600
"""Seconds that an account's pace is remembered after its last call."""

RATE_LIFETIME_S = 60
"""Seconds that the rate of the slowest worker holds for the others after its last call, and as long again
as its longest pause."""

_LONGEST_POLL_S = 0.1

# KEYS: lock, queue, seen, pace. Times are whole microseconds of Redis' clock, lifetimes milliseconds.
_COMMON = f"""
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function number(field, default)
  return tonumber(redis.call('HGET', KEYS[4], field) or default)
end
local function slowest(interval, now)
  local known = number('interval', 0)
  local lifetime = {RATE_LIFETIME_S} * 1000000 + {SLOWEST_FACTOR} * known
  if known > interval and now - number('interval_at', 0) < lifetime then return known end
  return interval
end
local function wait(interval, now)
  local left = math.max(number('next', 0) - now, 0)
  -- A clock that was set back must not stop the account for longer than its longest pause.
  local longest = math.max({SLOWEST_FACTOR} * slowest(interval, now), number('pause', 0))
  if left <= longest then return left end
  redis.call('HSET', KEYS[4], 'next', string.format('%.0f', now + longest))
  return longest
end
"""

_ENTER = f"""{_COMMON}
local token, lifetime, interval, patience = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = clock()
local holder = redis.call('GET', KEYS[1])
if holder == token then
  local left = wait(interval, now)
  redis.call('PEXPIRE', KEYS[1], lifetime + math.ceil(left / 1000))
  return left
end
redis.call('ZADD', KEYS[2], 'NX', now, token)
redis.call('ZADD', KEYS[3], now, token)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - patience)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
redis.call('PEXPIRE', KEYS[2], lifetime)
redis.call('PEXPIRE', KEYS[3], lifetime)
if holder or redis.call('ZRANGE', KEYS[2], 0, 0)[1] ~= token then return -1 end
redis.call('ZREM', KEYS[2], token)
redis.call('ZREM', KEYS[3], token)
local left = wait(interval, now)
redis.call('SET', KEYS[1], token, 'PX', lifetime + math.ceil(left / 1000))
return left
"""

_LOCK_LOST = -1
_START = f"""{_COMMON}
local token, lifetime, interval, remembered = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
if redis.call('GET', KEYS[1]) ~= token then return -1 end
local now = clock()
if wait(interval, now) > 0 then return -2 end
local pace = slowest(interval, now)
if pace == interval then
  redis.call('HSET', KEYS[4], 'interval', pace, 'interval_at', string.format('%.0f', now))
end
redis.call('HSET', KEYS[4], 'next', string.format('%.0f', now + pace * number('factor', 1)),
           'pause', 0)
redis.call('PEXPIRE', KEYS[4], remembered)
redis.call('PEXPIRE', KEYS[1], lifetime)
return now
"""

_LEAVE = f"""{_COMMON}
local token, is_good = ARGV[1], ARGV[2]
if is_good == '1' and redis.call('HINCRBY', KEYS[4], 'good', 1) >= {RECOVERY_CALLS} then
  redis.call('HSET', KEYS[4], 'good', 0, 'factor', math.max(1, math.floor(number('factor', 1) / 2)))
end
redis.call('ZREM', KEYS[2], token)
redis.call('ZREM', KEYS[3], token)
if redis.call('GET', KEYS[1]) ~= token then return 0 end
return redis.call('DEL', KEYS[1])
"""

_SLOW_DOWN = f"""{_COMMON}
local asked, interval, remembered = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local now = clock()
local factor = math.min(2 * number('factor', 1), {SLOWEST_FACTOR})
local pause = math.max(asked, slowest(interval, now) * factor)
local next = math.max(number('next', 0), now + pause)
redis.call('HSET', KEYS[4], 'factor', factor, 'good', 0, 'pause', string.format('%.0f', pause),
           'next', string.format('%.0f', next))
redis.call('PEXPIRE', KEYS[4], remembered)
return factor
"""


class _UnreachableError(Exception):
    """Redis did not answer, or not as it should."""


class RedisLink:
    """The connection of this process to Redis, which may come and go.

    Raises
    ------
    InputError
        If the address cannot be read; the message does not repeat it, as it may hold a password.
    """

    def __init__(self, url: SecretStr) -> None:
        try:
            self._client = redis.Redis.from_url(
                url.get_secret_value(),
                socket_timeout=ANSWER_TIMEOUT_S,
                socket_connect_timeout=ANSWER_TIMEOUT_S,
                retry=Retry(NoBackoff(), 1),
            )
        except (ValueError, TypeError):
            msg = (
                "CARRIER_OPT_REDIS_URL: the address cannot be read; write it like "
                "redis://host:6379/0 or rediss://:password@host:6379/0"
            )
            raise InputError(msg) from None
        self._where = _place(self._client)
        self._lock = threading.Lock()
        self._ask_again_at = 0.0
        self._is_down = self._has_warned = False

    def script(self, text: str) -> Callable[[Sequence[str], Sequence[object]], int]:
        """Make a script callable.

        The callable raises :class:`_UnreachableError` while Redis is away.
        """
        registered: Any = self._client.register_script(text)

        def run(keys: Sequence[str], arguments: Sequence[object]) -> int:
            if self._is_down and time.monotonic() < self._ask_again_at:
                raise _UnreachableError
            try:
                answer = int(registered(keys=keys, args=arguments))
            except (redis.RedisError, OSError, ValueError, TypeError) as error:
                self._went_down(error)
                raise _UnreachableError from None
            self._came_back()
            return answer

        return run

    def _went_down(self, error: Exception) -> None:
        with self._lock:
            self._is_down = True
            self._ask_again_at = time.monotonic() + ASK_AGAIN_S
            level = logging.INFO if self._has_warned else logging.WARNING
            self._has_warned = True
        LOG.log(
            level,
            "Redis at %s cannot be used (%s): carrier calls go on at the account's rate of each "
            "process by itself, so several workers on one account call too often together; check "
            "CARRIER_OPT_REDIS_URL and the server, or run one worker per account meanwhile",
            self._where,
            type(error).__name__,
        )

    def _came_back(self) -> None:
        if self._is_down:
            self._is_down = False
            LOG.info("Redis at %s answers again: workers share the account's rate", self._where)


_links: dict[str, RedisLink] = {}
_links_lock = threading.Lock()


def link_to(url: SecretStr) -> RedisLink:
    """Return this process's link to a Redis; one per address, so that it warns once.

    Raises
    ------
    InputError
        If the address cannot be read.
    """
    with _links_lock:
        key = url.get_secret_value()
        if key not in _links:
            _links[key] = RedisLink(url)
        return _links[key]


class SharedLimiter:
    """A :class:`core.carriers.limiter.Limiter` that all workers of an account share.

    Parameters
    ----------
    account
        Names the account; only a hash of it leaves the process.
    requests_per_second
        Above 0.
    local
        Takes over while Redis is away; it is told of every start, so that the distance between
        calls also holds across the change.
    longest_call_s
        Longest time that a call can take.
    lock_margin_s
        How much longer the lock lives.
    """

    def __init__(
        self,
        link: RedisLink,
        account: str,
        requests_per_second: float,
        *,
        local: AccountLimiter,
        longest_call_s: float,
        lock_margin_s: float = LOCK_MARGIN_S,
    ) -> None:
        name = hashlib.sha256(account.encode()).hexdigest()
        self._keys = [
            f"carrier-opt:{{{name}}}:{part}" for part in ("lock", "queue", "seen", "pace")
        ]
        self._interval_us = 0
        self._local = local
        self.slow_to(requests_per_second)
        self._lifetime_ms = int((longest_call_s + lock_margin_s) * 1000)
        self._mine = threading.Lock()
        self._enter, self._start, self._leave, self._slow_down = (
            link.script(text) for text in (_ENTER, _START, _LEAVE, _SLOW_DOWN)
        )

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait for the account's turn, and hold it for the length of the block."""
        with self._mine:
            token = uuid.uuid4().hex
            try:
                start_us = self._begin(token)
            except _UnreachableError:
                start_us = None
            except BaseException:  # interrupted while waiting
                self._end(token, is_good=False, began=None)
                raise
            if start_us is None:
                with self._local.slot() as start:
                    yield start
                return
            self._local.started_elsewhere()
            began = time.monotonic()
            is_good = False
            try:
                yield start_us / 1e6
                is_good = True
            finally:
                self._end(token, is_good=is_good, began=began)

    def slow_to(self, requests_per_second: float) -> None:
        """Keep this rate, unless a slower one is kept."""
        self._local.slow_to(requests_per_second)
        interval_us = -int(-1_000_000 // requests_per_second)  # rounded up
        self._interval_us = max(self._interval_us, interval_us)
        self._poll_s = min(self._interval_us / 4e6, _LONGEST_POLL_S)
        longest_pause_ms = SLOWEST_FACTOR * self._interval_us // 1000
        self._remembered_ms = PACE_LIFETIME_S * 1000 + longest_pause_ms

    def rate_limited(self, retry_after_s: float | None = None) -> None:
        """Double the pause of all workers, and leave the carrier alone for as long as it asks."""
        self._local.rate_limited(retry_after_s)
        asked_us = int((retry_after_s or 0.0) * 1e6)
        try:
            factor = self._slow_down(self._keys, [asked_us, self._interval_us, self._remembered_ms])
        except _UnreachableError:
            return
        LOG.info("the carrier is called too often: calls are %d times as far apart now", factor)

    def _begin(self, token: str) -> int:
        """Wait for lock and pace; return the start in microseconds of Redis' clock."""
        patience_us = int(WAITER_LIFETIME_S * 1e6)
        while True:
            wait_us = self._enter(
                self._keys, [token, self._lifetime_ms, self._interval_us, patience_us]
            )
            if wait_us < 0:
                time.sleep(self._poll_s * random.uniform(0.5, 1.5))  # noqa: S311
            elif wait_us > 0:
                time.sleep(wait_us / 1e6)  # and ask again: the carrier may have complained since
            else:
                start_us = self._start(
                    self._keys, [token, self._lifetime_ms, self._interval_us, self._remembered_ms]
                )
                if start_us >= 0:
                    return start_us
                if start_us == _LOCK_LOST:
                    LOG.warning("the lock of a carrier account ended before its call: waiting anew")

    def _end(self, token: str, *, is_good: bool, began: float | None) -> None:
        try:
            was_mine = self._leave(self._keys, [token, int(is_good)])
        except _UnreachableError:
            return
        if began is not None and not was_mine:
            LOG.warning(
                "a carrier call took %.0f s, and its account's lock (%.0f s) ended before it: another "
                "worker may have called at the same time; raise CARRIER_OPT_CARRIER_TIMEOUT_SECONDS "
                "if calls really take that long",
                time.monotonic() - began,
                self._lifetime_ms / 1000,
            )


def _place(client: redis.Redis) -> str:
    known = client.connection_pool.connection_kwargs
    return str(known.get("path") or f"{known.get('host')}:{known.get('port', 6379)}")
