"""Runs in a process of their own that all want a session of tenant 1 at one moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from core.errors import SessionBusyError
from core.sessions.lifecycle import Author, Owner, open_session, parse_parameters
from core.storage.engine import open_engine


def contend(database, name, n_threads, start, said):
    """Try once per thread; put what became of each into ``said``.

    That is the run, and what it got: ``("won", session, attempt)``, ``("busy", session, text)`` or
    ``("broke", kind, text)``.
    """
    engine = open_engine(f"sqlite:///{database}")
    ready = threading.Barrier(n_threads, action=start.wait)  # the last thread waits for the others
    found = []

    def run(run_id):
        request = parse_parameters(service_provider_id=1, billing_period_id=1)
        ready.wait()
        try:
            handle = open_session(
                engine,
                request,
                tenant_id=1,
                owner=Owner.of_this_process(run_id),
                triggered_by=Author(actor="test", source="api", run_id=run_id),
                now=datetime.now(UTC),
            )
        except SessionBusyError as error:
            found.append((run_id, "busy", error.running_session_id, str(error)))
        except BaseException as error:
            found.append((run_id, "broke", type(error).__name__, str(error)))
        else:
            found.append((run_id, "won", handle.session_id, handle.attempt))

    threads = [
        threading.Thread(target=run, args=(f"{name}-{number}",)) for number in range(n_threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()
    said.put(found)
    start.wait()  # no owner dies before all have tried
