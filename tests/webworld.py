"""A small, realistic world for the web's tests: `World` is both ports in memory, and decides as the ledger would.

Two years of one borough in a handful of children: the R19 child with overdue recommendation and a possible match; one declined;
one convened; one with a GP message; one sealed. Canary strings mark what each role must not see.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DataError, OperationalError

from domain.saying import said
from domain.searching import SearchTerms
from domain.times import DAY_US, HOUR_US
from infra import parts
from infra.state import State
from projections.accesses import issue_credential
from projections.accounts import PEOPLE_ROLES, add_account
from projections.keep_tables import keep_metadata
from schemas.catalogue import catalogue
from schemas.validation import require
from tests.webviews import (
    AISHA,
    AISHA_JOINED_REC,
    AISHA_REC,
    CALLUM,
    CALLUM_REC,
    CANARIES,
    LETTER,
    LOST_MESSAGE,
    MATCH,
    MESSAGE,
    MIA,
    MIA_REC,
    NOAH,
    NOAH_REC,
    NOW,
    OTHER_PRACTICE,
    PASSWORD,
    PRACTICE,
    SEALED,
    an_id,
    callum,
    others,
)  # fmt: skip
from web.config import WebConfig
from web.ports import Entry, GpException, InboxItem, Json, Listed, MatchPair, Measure, Thing, Unavailable
from web.shapes import WAITING

__all__ = [
    "AISHA",
    "AISHA_JOINED_REC",
    "AISHA_REC",
    "CALLUM",
    "CALLUM_REC",
    "CANARIES",
    "LETTER",
    "LOST_MESSAGE",
    "MATCH",
    "MESSAGE",
    "MIA",
    "MIA_REC",
    "NOAH",
    "NOAH_REC",
    "NOW",
    "OTHER_PRACTICE",
    "PASSWORD",
    "PRACTICE",
    "SEALED",
    "World",
    "config",
    "keep_engine",
    "with_accounts",
]


class World:
    """Reading and Speaking, in memory. `slow_s` delays the ledger; `away` makes the broker unreachable."""

    def __init__(self) -> None:
        self.views: dict[str, Json] = {v["child_id"]: v for v in (callum(), *others())}
        self.match_state = "OPEN"
        self.match_history: list[Json] = []
        self.held_by: list[Json] = []
        self.sent: list[tuple[str, Mapping[str, Any]]] = []
        self.entries: dict[str, tuple[float, Entry]] = {}
        self.number = 100
        self.slow_s = 0.0
        self.away = False
        self.views_away = self.entries_away = False
        self.ends_after_sending = False
        self.stale_by_surprise = False
        self._lock = threading.Lock()

    # -- Reading

    def queue(self, limit: int, offset: int = 0) -> Listed[Json]:
        return self._listed([v for v in self._all() if any(r["state"] in WAITING for r in v["recommendations"])], limit, offset)

    def recently_decided(self, since: int, limit: int, offset: int = 0) -> Listed[Json]:
        states = ("DECLINED", "CONVENED", "HELD", "CLOSED")
        return self._listed([v for v in self._all() if any(r["state"] in states for r in v["recommendations"])], limit, offset)

    def children_of(self, presentation_ids: Sequence[str]) -> Sequence[str]:
        return [an_id(f"child of {p}") for p in presentation_ids]

    def child_view(self, child_id: str, as_of: int | None = None, known_at: int | None = None) -> Json | None:
        found = self._one(child_id)
        return found and found | {"as_of": as_of or NOW, "known_at": known_at}

    def child_version(self, child_id: str) -> int | None:
        found = self._one(child_id)
        return int(found["version"]) if found else None

    def search(self, terms: SearchTerms, limit: int, offset: int = 0) -> Sequence[Json]:
        _no_nul(parameters=terms.sieve())

        def fits(v: Json) -> bool:
            name = f"{v['name']['given']} {v['name']['family']}".casefold()
            numbers = [i["value"] for p in v["identity"] for i in p["identifiers"]]
            return (
                all(w in name for w in (terms.name or "").casefold().split())
                and terms.birth_date in (None, v["birth_date"])
                and (terms.identifier is None or terms.identifier in numbers)
            )

        return [v for v in self._all() if fits(v)][offset : offset + limit]

    def possible_matches(self, state: str, limit: int, offset: int = 0) -> Listed[MatchPair]:
        pair = self._pair()
        return self._listed([pair] if pair.state == state else [], limit, offset)

    def possible_match(self, match_id: str) -> MatchPair | None:
        return self._pair() if match_id == MATCH else None

    def recommendation(self, recommendation_id: str) -> tuple[str, Json] | None:
        return next(
            (
                (v["child_id"], v)
                for v in self._all()
                if any(r["recommendation_id"] == recommendation_id for r in v["recommendations"])
            ),
            None,
        )

    def gp_inbox(
        self, practice_ods: str, states: Sequence[str], after: tuple[int, str] | None = None, limit: int | None = None
    ) -> Sequence[InboxItem]:
        found = [
            InboxItem(m["message_id"], m["state"], m["raised_at"])
            for v in self._all()
            for m in v["messages"]
            if m["practice_ods"] == practice_ods and m["state"] in states
        ]
        found.sort(key=lambda i: (i.sent_at, i.message_id))
        return [i for i in found if (i.sent_at, i.message_id) > (after or (0, ""))][:limit]

    def gp_message(self, message_id: str, practice_ods: str) -> tuple[Json, Json] | None:
        return next(
            (
                (v, m)
                for v in self._all()
                for m in v["messages"]
                if m["message_id"] == message_id and m["practice_ods"] == practice_ods
            ),
            None,
        )

    def gp_exceptions(self, limit: int, offset: int = 0) -> Listed[GpException]:
        return self._listed(self._exceptions(), limit, offset)

    def gp_exception(self, message_id: str) -> GpException | None:
        return next((e for e in self._exceptions() if e.message_id == message_id), None)

    def _exceptions(self) -> list[GpException]:
        return [
            GpException(m["message_id"], v, m)
            for v in self._all()
            for m in v["messages"]
            if m["exception"] and not m["exception"]["resolved_at"]
        ]

    def entry_for(self, event_id: str) -> Entry | None:
        if self.entries_away:
            raise OperationalError("", {}, Exception())
        found = self.entries.get(event_id)
        return found[1] if found and found[0] <= time.monotonic() else None

    def feed_position(self) -> int:
        return self.number

    def wait_for_change(self, after: int, timeout_s: float) -> int:
        until = time.monotonic() + min(timeout_s, 1.0)
        while self.number <= after and time.monotonic() < until:
            time.sleep(0.02)
        return self.number

    def status(self) -> Json:
        return {
            "number": self.number,
            "relayed": self.number,
            "relay_age_s": 0.4,
            "lag": [{"topic": "facts.police", "partition": 0, "behind": 3}],
            "dead_letters": {"police": 1},
            "positions": [{"topic": "facts.police", "partition": 0, "next_offset": 77, "owner": "unify-0"}],
            "warnings": [],
        }

    def dead_letters(self, agency: str | None, limit: int) -> Sequence[Json]:
        return [x for x in [self.dead_letter(LETTER)] if x and agency in (None, x["agency"])]

    def dead_letter(self, letter_id: str) -> Json | None:
        problems = [{"field": "envelope.subject.birth_date", "rule": "born-tomorrow", "message": "is in the future"}]
        return (
            None
            if letter_id != LETTER
            else {
                "letter_id": LETTER,
                "agency": "police",
                "event_id": an_id("bad"),
                "record": "MissingEpisodeReported",
                "reason": "implausible",
                "message": "Correct the date and send it again with a new id.",
                "problems": problems,
                "source_topic": "facts.police",
                "source_partition": 0,
                "source_offset": 12,
                "number": 90,
                "accepted_at": NOW - DAY_US,
            }
        )

    def pulse(self) -> Sequence[Json]:
        return [
            {
                "agency": "police",
                "record": "MissingEpisodeReported",
                "window_start": NOW - HOUR_US,
                "window_seconds": 3600,
                "facts": 7,
            }
        ]

    def measures(self) -> Sequence[Measure]:
        return [
            Measure("decisions", "Recommendations by state", "State", [("Convened", 14), ("Declined", 3), ("Overdue", 22)]),
            Measure(
                "challenges",
                "Disagreements by agency",
                "Agency",
                [("Police", 6), ("Health", 0), ("Education", 9)],
                about_people=False,
            ),
        ]

    def ready(self) -> Mapping[str, bool]:
        return {"views": not self.views_away}

    # -- Speaking

    def send(self, record_name: str, value: Mapping[str, Any]) -> str:
        if self.away:
            raise Unavailable("away")
        filled = copy.deepcopy(dict(value))
        require(catalogue()[record_name], filled, NOW + DAY_US)
        with self._lock:
            self.sent.append((record_name, filled))
            self.entries_away = self.ends_after_sending
            event_id: str = filled["act"]["event_id"]
            if event_id not in self.entries:
                self.number += 1
                verdict, why = self._apply(record_name, filled)
                self.entries[event_id] = (
                    time.monotonic() + self.slow_s,
                    Entry(verdict, why, self.number, NOW, said(record_name, filled)),
                )
            return event_id

    def answer(self) -> None:
        """The ledger is slow no longer: what it has not answered yet it answers now."""
        with self._lock:
            self.slow_s = 0.0
            self.entries = {event_id: (0.0, entry) for event_id, (_, entry) in self.entries.items()}

    def touch(self, child_id: str) -> None:
        """A fact arrives about a child."""
        with self._lock:
            self.number += 1
            self.views[child_id]["version"] = self.number

    def _apply(self, record: str, value: Mapping[str, Any]) -> tuple[str, str | None]:  # noqa: PLR0911 - one return an act
        act = value["act"]
        said = {"at": NOW, "by": act["actor_id"], "by_role": act["actor_role"]}
        if record.startswith("Match"):
            if (
                act["based_on"] != self._pair().version
                or self.match_state
                not in {
                    "MatchConfirmed": ("OPEN", "REJECTED", "UNDONE"),
                    "MatchRejected": ("OPEN",),
                    "MatchUndone": ("CONFIRMED",),
                }[record]
            ):  # as `consumers.deciding` has it
                return "REFUSED", "stale-decision"
            self.match_state = record.removeprefix("Match").upper()
            held = self.held_by if record == "MatchUndone" else None
            kind = f"match_{self.match_state.lower()}"
            self.match_history.append(said | {"kind": kind, "rationale": value["rationale"], "held_by": held})
            return "ACCEPTED", None
        if record in ("GpReceipt", "GpExceptionResolved", "GpExceptionTaken"):
            m = next(m for v in self.views.values() for m in v["messages"] if m["message_id"] == value["message_id"])
            if record == "GpReceipt":
                m["state"] = value["state"]
                m["receipts"].append({"at": NOW, "state": value["state"], "reason": value["reason"]})
            elif record == "GpExceptionTaken":
                m["exception"]["taken"] = said if value["taken"] else None
            else:
                m["exception"] |= {"resolved_at": NOW, "resolution": value["resolution"]}
            return "ACCEPTED", None
        if record == "CaseTaken":
            self.views[act["child_id"]]["case"] = said if value["taken"] else None
            return "ACCEPTED", None
        rec = next(
            r for v in self.views.values() for r in v["recommendations"] if r["recommendation_id"] == value["recommendation_id"]
        )
        if record == "RecommendationDisagreed":
            rec["disagreements"].append(said | {"agency": value["agency"], "ground": value["ground"]})
            return "ACCEPTED", None
        if self.stale_by_surprise or act["based_on"] != rec["version"]:
            return "REFUSED", "stale-decision"
        state, kind = {
            "RecommendationDecided": ("CONVENED", "convened") if value.get("decision") == "CONVENE" else ("DECLINED", "declined"),
            "StrategyMeetingHeld": ("HELD", "held"),
            "RecommendationClosed": ("CLOSED", "closed"),
        }[record]
        rest = {k: v for k, v in value.items() if k in ("reason", "meeting_at", "held_at", "attended", "outcome")}
        rest["text"] = value.get("rationale") or value.get("outcome_text")  # as `domain.meetings` has it
        rec["history"].append(said | {k: v for k, v in rest.items() if v is not None} | {"kind": kind})
        rec |= {"state": state, "version": self.number, "open": False}
        return "ACCEPTED", None

    def _listed(self, found: list[Thing], limit: int, offset: int) -> Listed[Thing]:
        return Listed(found[offset : offset + limit], len(found))

    def _all(self) -> list[Json]:
        if self.views_away:
            raise Unavailable("views")
        return [copy.deepcopy(v) for v in self.views.values()]

    def _one(self, child_id: str) -> Json | None:
        return next((v for v in self._all() if v["child_id"] == child_id), None)

    def _pair(self) -> MatchPair:
        child = self.views[CALLUM]
        shown = child["possible_matches"][0] | {"state": self.match_state}
        return MatchPair(
            MATCH,
            self.match_state,
            shown["raised_at"],
            100 + len(self.match_history),
            shown,
            copy.deepcopy(child),
            CALLUM if self.match_state == "UNDONE" and self.held_by else an_id("other"),
            list(self.match_history),
        )


def keep_engine(folder: Path) -> Engine:
    """An empty `keep` in a file: threads each take a connection, and no text holds NUL, as in PostgreSQL."""
    engine = create_engine(f"sqlite:///{folder / 'keep.sqlite'}", connect_args={"timeout": 10})
    event.listen(engine, "before_cursor_execute", _no_nul, named=True)
    keep_metadata.create_all(engine)
    return engine


def _no_nul(*, parameters: object, **_: object) -> None:
    if "\\x00" in repr(parameters):
        raise DataError("a statement", None, ValueError("text cannot contain NUL"))


def with_accounts(engine: Engine, *, now: int = NOW) -> dict[str, tuple[str, str]]:
    """Accounts for every role, and (client id, secret) by practice."""
    with engine.begin() as conn:
        for role in PEOPLE_ROLES:
            add_account(
                conn, name=role, display_name=f"Sam {role.replace('_', ' ').title()}", role=role, password=PASSWORD, now=now
            )
        add_account(conn, name="manager2", display_name="Robin Second", role="icart_manager", password=PASSWORD, now=now)
        issued = {ods: issue_credential(conn, ods, now=now) for ods in (PRACTICE, OTHER_PRACTICE)}
    return {ods: (credential.client_id, secret) for ods, (credential, secret) in issued.items()}


def static_dir() -> Path:
    """The web components, fetched and unpacked at the first need (a fresh clone has none)."""
    state = State.open()
    if not (state.static / "govuk-frontend").exists():
        parts.install(state, [p for p in parts.locked() if p.use == "static"])
    return state.static


def config(
    world: World, engine: Engine, static_dir: Path, *, clock: Callable[[], int] = lambda: NOW, wait_s: float = 1.0
) -> WebConfig:
    """The web over this world."""
    return WebConfig(
        reading=world,
        speaking=world,
        keep_engine=engine,
        static_dir=static_dir,
        secret="only for tests",
        secure_cookies=False,
        clock=clock,
        wait_s=wait_s,
    )
