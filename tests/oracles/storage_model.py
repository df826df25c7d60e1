"""What sessions, slots, messages and results must do, as plain dicts; shares no code with ``core``.

Every act returns what the caller must be told, such as ``("ok",)`` or ``("busy", 3)``, and changes
the dicts as the tables must be changed. Times are seconds; run and process are named by the caller.
"""

from __future__ import annotations

NEXT = {
    "PENDING": "SYNCING",
    "SYNCING": "GROUPING",
    "GROUPING": "SEQUENCING",
    "SEQUENCING": "OPTIMISING",
    "OPTIMISING": "FINALISING",
}
WORKING = [*NEXT, "FINALISING"]
FINAL = ["COMPLETED", "COMPLETED_WITH_ERRORS", "CANCELLED"]
TENANT = {1: 1, 2: 1, 3: 2}
"""Provider to tenant."""
SILENCE = 60

OK = ("ok",)


class Sessions:
    """Sessions by id, the outbox in order, slots by key, and who is dead."""

    def __init__(self):
        self.now = 0
        self.dead = set()
        self.sessions = {}
        self.outbox = []
        self.slots = {}
        self.results = {}

    # --- sessions

    def working(self, tenant):
        """The tenant's working session, or None."""
        found = [
            number
            for number, s in self.sessions.items()
            if TENANT[s["provider"]] == tenant and s["state"] in WORKING
        ]
        return found[0] if found else None

    def is_free(self, session, run, pid):
        """Whether that run may have a working session."""
        s = self.sessions[session]
        is_silent = self.now - s["beat"] > SILENCE
        return s["pid"] in self.dead or (s["run"], s["pid"]) == (run, pid) or is_silent

    def open(self, provider, run, pid, *, dry):
        """A run wants a session."""
        there = self.working(TENANT[provider])
        if there is not None:
            s = self.sessions[there]
            if not self.is_free(there, run, pid):
                return ("busy", there)
            self.give(there, run, pid)
            if (s["provider"], s["dry"]) == (provider, dry):
                return ("ok", there, s["attempt"])
            self.stop(there, "FAILED")
        new = len(self.sessions) + 1
        self.sessions[new] = {
            "provider": provider,
            "dry": dry,
            "state": "PENDING",
            "progress": 0,
            "failed_in": None,
            "run": run,
            "pid": pid,
            "attempt": 1,
            "beat": self.now,
        }
        self.tell(new, "Progress", 0)
        return ("ok", new, 1)

    def go_on(self, session, provider, run, pid):
        """A run wants that session."""
        s = self.sessions.get(session)
        if s is None or TENANT[s["provider"]] != TENANT[provider] or s["provider"] != provider:
            return ("input",)
        if s["state"] not in WORKING:
            return ("session",)
        if not self.is_free(session, run, pid):
            return ("busy", session)
        self.give(session, run, pid)
        return ("ok", session, s["attempt"])

    def give(self, session, run, pid):
        """Another owner has the session."""
        s = self.sessions[session]
        s.update(run=run, pid=pid, attempt=s["attempt"] + 1, beat=self.now)

    def stop(self, session, state):
        """End it without a result."""
        s = self.sessions[session]
        s.update(failed_in=s["state"], state=state)
        self.tell(session, "ErrorMessage", 0)

    def refused(self, session, run, attempt):
        """Why a run may not touch the session; None if it may."""
        s = self.sessions[session]
        if (s["run"], s["attempt"]) != (run, attempt):
            return ("fenced",)
        return ("cancelled",) if s["state"] == "CANCELLED" else None

    def enter(self, session, run, attempt, state, milestone, *, again):
        """Begin a stage; ``again``: also one that was begun before."""
        s = self.sessions[session]
        refused = self.refused(session, run, attempt)
        if refused:
            return refused
        is_there = (
            again and s["state"] in WORKING and WORKING.index(s["state"]) >= WORKING.index(state)
        )
        if not is_there and NEXT.get(s["state"]) != state:
            return ("illegal",)
        if not is_there:
            s["state"] = state
        s["beat"] = self.now
        if milestone:
            self.rise(session, milestone)
        return OK

    def report(self, session, run, attempt, progress):
        """Tell a progress."""
        refused = self.refused(session, run, attempt)
        if refused:
            return refused
        if self.sessions[session]["state"] not in WORKING:
            return ("illegal",)
        self.sessions[session]["beat"] = self.now
        self.rise(session, progress)
        return OK

    def rise(self, session, progress):
        """Only news is told."""
        if progress > self.sessions[session]["progress"]:
            self.sessions[session]["progress"] = progress
            self.tell(session, "Progress", progress)

    def beat(self, session, run, attempt):
        """Show that the run lives."""
        refused = self.refused(session, run, attempt)
        if refused:
            return refused
        if self.sessions[session]["state"] in WORKING:
            self.sessions[session]["beat"] = self.now
        return OK

    def complete(self, session, run, attempt, state):
        """End with a result; doing it twice is doing it once."""
        s = self.sessions[session]
        refused = self.refused(session, run, attempt)
        if refused:
            return refused
        if s["state"] == state:
            return OK
        if s["state"] != "FINALISING":
            return ("illegal",)
        s.update(state=state, progress=100, beat=self.now)
        self.tell(session, "Completed", 100)
        return OK

    def fail(self, session, run, attempt):
        """End as failed; doing it twice is doing it once."""
        refused = self.refused(session, run, attempt)
        if refused:
            return refused
        return self.end(session, "FAILED")

    def cancel(self, session, owner=None):
        """End as cancelled: by its run, or by whoever may (``owner`` is None)."""
        if self.sessions[session]["state"] == "CANCELLED":
            return OK
        if owner and self.refused(session, *owner):
            return ("fenced",)
        return self.end(session, "CANCELLED")

    def end(self, session, state):
        """Stop it unless it has ended."""
        s = self.sessions[session]
        if s["state"] == state:
            return OK
        if s["state"] not in WORKING:
            return ("illegal",)
        self.stop(session, state)
        return OK

    # --- outbox

    def tell(self, session, kind, progress):
        """Write a message; None for a run without session."""
        before = [m for m in self.outbox if m["session"] == session and session is not None]
        self.outbox.append(
            {
                "session": session,
                "sequence": len(before) + 1,
                "type": kind,
                "progress": progress,
                "attempts": 0,
                "end": None,
                "note": None,
            }
        )

    def heads(self):
        """Numbers of the messages that may be sent now, from 1."""
        found, seen = [], set()
        for number, message in enumerate(self.outbox, start=1):
            if message["end"] is None and message["session"] not in seen:
                found.append(number)
                if message["session"] is not None:
                    seen.add(message["session"])
        return found

    def claim(self, number, attempts, sender):
        """Begin to send a message that was read when it had so many attempts."""
        message = self.outbox[number - 1]
        if message["end"] is not None or message["attempts"] != attempts:
            return False
        message.update(attempts=attempts + 1, note=f"being sent by {sender}")
        return True

    def finish(self, number, attempt, end):
        """End an attempt: ``sent``, ``parked``, or None to try again."""
        message = self.outbox[number - 1]
        if message["end"] is not None or message["attempts"] != attempt:
            return False
        message.update(end=end, note=None if end == "sent" else "no luck")
        return True

    # --- slots

    def claim_slot(self, key, run):
        """Whether the run has the slot, and who has it."""
        slot = self.slots.setdefault(key, {"run": run, "session": None})
        return slot["run"] == run, slot["run"], slot["session"]

    def release_slot(self, key, run):
        """Give it back."""
        if self.slots.get(key) != {"run": run, "session": None}:
            return False
        del self.slots[key]
        return True

    def bind_slot(self, key, run, session):
        """Note what came of it."""
        if self.slots.get(key, {}).get("run") != run:
            return False
        self.slots[key]["session"] = session
        return True

    # --- results

    def write(self, session, attempt, step, n_units):
        """Write a step of the results: an instance, ``group``, ``sequence``, a unit, ``publish``."""
        s = self.sessions[session]
        if s["state"] == "CANCELLED":
            return ("cancelled",)
        if s["attempt"] != attempt or s["state"] not in WORKING:
            return ("fenced",)
        found = self.results.setdefault(
            session, {"grouped": False, "sequenced": False, "units": set(), "published": False}
        )
        if step == "create":
            return OK
        if step == "publish" and found["published"]:
            return OK
        if found["published"] or (step != "group" and not found["grouped"]):
            return ("storage",)
        if step == "group":
            found.update(grouped=True, sequenced=False, units=set())
        elif step == "sequence":
            found.update(sequenced=True, units=set())
        elif step == "publish":
            if len(found["units"]) < n_units:
                return ("storage",)
            found["published"] = True
        else:
            found["units"].add(step)
        return OK
