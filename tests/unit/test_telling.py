"""Progress is told once a minute, however often something is read."""

from __future__ import annotations

from core.sync.telling import each_minute


def test_what_was_read_is_told_once_a_minute() -> None:
    now = 1000.0
    told: list[str] = []
    on_progress = each_minute(told.append, clock=lambda: now)
    for second in range(150):
        now = 1000.0 + second
        on_progress("SIMs listed", 1000 * second)
    assert told == ["60,000 SIMs listed", "120,000 SIMs listed"]
