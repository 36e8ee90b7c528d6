"""Those who decide, in a script: managers, the duty team, agencies' seats, GP practices, and the reviewer of possible matches.

They look at what the ledger has acknowledged, send acts as the web does, press twice, decide against one another, and note what
they were told. What must follow is in `tests.fault.deeds`.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

import psycopg
from kafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from domain.problems import SightlineError
from producers.acts import ActProducer
from projections.reading import CatchingUp
from tests.fault.meanwhile import meanwhile
from tests.looking import reading

if TYPE_CHECKING:
    from tests.fault.harness import House

ACTS: Final = UUID("f2a4a0d8-53cf-5f3b-9f19-7a1f0a6d3c11")
HOUR_US: Final = 3_600_000_000
RETRIES: Final = 5
VERSION: Final = "(select max(c.number) from conclusion c where c.about = m.match_id)"
"""The version of a possible match that a reader of the tables sees: an act has to name it."""

Json = dict[str, Any]


class People:
    """Everybody who acts in one house. Threads may share it."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._producer: ActProducer | None = None
        self._answered: dict[str, int] = {}
        self._rng = Random(f"people/{house.story.seed}")
        self._count = 0
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = {}
        self._done: set[tuple[str, str]] = set()
        self._met: dict[str, dict[str, int]] = defaultdict(dict)
        self.active = False
        """Does anybody decide in this house?"""

    def close(self) -> None:
        """End the connection."""
        if self._producer is not None:
            self._producer.close()

    # -- acting -----------------------------------------------------------------------------------------------------

    def act(self, record: str, head: Json, **body: Any) -> str:
        """Send one act; its id. Not acknowledged is noted too, and means perhaps sent."""
        with self._lock:
            self._count += 1
            event_id = str(uuid5(ACTS, f"{self._house.story.seed}/{self._house.deployment.prefix}/{self._count}"))
        at = self._house.now_us()
        act = {"event_id": event_id, "child_id": None, "acted_at": at, "based_on": None, "correlation_id": None, **head}
        return self.press(record, {"act": act, **body})

    def press(self, record: str, value: Json) -> str:
        """Send an act as it is, perhaps not for the first time."""
        if self._producer is None:
            self._producer = ActProducer(self._house.deployment.access("web"), self._house.codec, now=self._house.now_us)
        event_id = str(value["act"]["event_id"])
        topic = "receipts" if record == "GpReceipt" else "decisions"
        self._house.history.note("act", event_id=event_id, topic=topic, record=record, value=value)
        self._waiting[event_id] = topic
        with contextlib.suppress(SightlineError, KafkaError):
            self._producer.send(record, value)
            self._house.history.note("act acknowledged", event_id=event_id, topic=topic)
        return event_id

    def listen(self) -> int:
        """Ask what became of each act, as the web does; how many were told now. Nothing is told before the ledger has it."""
        told = 0
        with contextlib.suppress(SQLAlchemyError, CatchingUp), reading(self._house.settings) as shown:
            for event_id in list(self._waiting):
                found = shown.entry_for(event_id)
                if found is not None:
                    told_now = {"verdict": found.verdict, "reason": found.reason, "number": found.number}
                    self._house.history.note("told", event_id=event_id, **told_now)
                    del self._waiting[event_id]
                    told += 1
        return told

    # -- reviewing possible matches ----------------------------------------------------------------------------------

    def review(self, answer: Callable[[str, str, str, str], str | None]) -> int:
        """Decide every open match that the ledger topic holds; how many were sent. `answer` gives the act's record, or None."""
        rows = self._house.rows(
            f"select m.match_id, p.agency, p.local_id, q.agency, q.local_id, p.child_id, {VERSION} from possible_match m "
            "join presentation p on p.presentation_id = m.presentation_id join presentation q on q.presentation_id = m.anchor "
            "where m.state = 'OPEN' and m.number <= (select relayed from relay where id = 1) order by m.number, m.match_id"
        )
        sent = 0
        for match_id, *sides, child, version in rows:
            record = answer(*sides)
            if record is None or self._answered.get(match_id, 0) >= RETRIES:
                continue
            self._answered[match_id] = self._answered.get(match_id, 0) + 1
            head = {"actor_id": "reviewer", "actor_role": "icart_manager", "child_id": child, "based_on": version}
            self.act(record, head, match_id=match_id, rationale="truth")
            sent += 1
        return sent

    def undo(self, limit: int = 2) -> list[str]:
        """Undo some confirmed matches that stand; their ids. Whoever settles then confirms them again (`confirm`)."""
        rows = self._house.rows(
            f"select m.match_id, {VERSION} from possible_match m where m.state = 'CONFIRMED' and m.number <= "
            "(select relayed from relay where id = 1) and exists (select 1 from edge e where e.match_id = m.match_id) "
            "order by m.match_id"
        )
        chosen = self._rng.sample(rows, min(limit, len(rows)))
        for match_id, version in chosen:
            head = {"actor_id": "reviewer", "actor_role": "icart_manager", "based_on": version}
            self.act("MatchUndone", head, match_id=match_id, rationale="wrong")
        return [match_id for match_id, _ in chosen]

    def confirm(self, match_ids: list[str]) -> None:
        """Confirm these, whatever was said before."""
        versions = dict(self._house.rows(f"select m.match_id, {VERSION} from possible_match m"))
        for match_id in match_ids:
            head = {"actor_id": "reviewer", "actor_role": "icart_manager", "based_on": versions[match_id]}
            self.act("MatchConfirmed", head, match_id=match_id, rationale="truth")

    # -- deciding ---------------------------------------------------------------------------------------------------

    def documents(self) -> Iterator[Json]:
        """What a reader is shown of the children on whom something was recommended or told to a practice."""
        rows = self._house.rows("select distinct child_id from conclusion where kind in ('recommended', 'gp_message') order by 1")
        with reading(self._house.settings) as shown:
            for (child,) in rows:
                view = shown.child_view(child, self._house.now_us())
                if view is not None and view["merged_into"] is None:
                    yield view

    def decide(self, share: float = 0.7) -> int:
        """One round: each open thing is acted on with this chance; how many acts were sent. Each kind of thing once a subject.

        Some nobody ever acts on: those are what becomes overdue.
        """
        sent = 0
        with contextlib.suppress(CatchingUp, SQLAlchemyError, psycopg.Error):
            for view in list(self.documents()):
                for rec in view["recommendations"]:
                    alone = self._left_alone("meeting", rec["recommendation_id"], waits=rec["open"])
                    if not alone and self._rng.random() < share:
                        sent += self._recommendation(view, rec)
                for message in (m for m in view["messages"] if m["practice_ods"]):
                    alone = self._left_alone("message", message["message_id"], waits=message["state"] == "WAITING")
                    if not alone and self._rng.random() < share:
                        sent += self._receipt(message)
                if view["recommendations"] and self._first("case", view["child_id"]):
                    head = {"actor_id": "mo", "actor_role": "icart_manager", "child_id": view["child_id"]}
                    self.act("CaseTaken", head, taken=True)
                    sent += 1
        return sent

    def _left_alone(self, kind: str, about: str, *, waits: bool) -> bool:
        """Does nobody ever act on this? Of those of a kind that were met while they waited for somebody, the second, the fifth
        and so on: where there are two, one is acted on and one falls due, whatever their ids are.
        """
        with self._lock:
            met = self._met[kind]
            if waits:
                met.setdefault(about, len(met))
            return met.get(about, 0) % 3 == 1

    def _first(self, what: str, about: str) -> bool:
        with self._lock:
            new = (what, about) not in self._done
            self._done.add((what, about))
            return new

    def _recommendation(self, view: Json, rec: Json) -> int:
        rid, about = rec["recommendation_id"], {"recommendation_id": rec["recommendation_id"]}
        head = {"child_id": view["child_id"], "based_on": rec["version"]}
        if rec["open"] and self._first(f"decide/{rec['version']}", rid):
            if rec["evidence_changed"] and self._rng.random() < 0.5:
                self.act(
                    "RecommendationClosed", {**head, "actor_id": "mo", "actor_role": "icart_manager"}, **about, rationale="gone"
                )
                return 1
            return self._decide(head, about)
        if rec["state"] == "CONVENED" and self._first("held", rid):
            body = {
                "attended": ["police", "csc"],
                "outcome": "S47_JOINT",
                "outcome_text": "agreed",
                "held_at": self._house.now_us(),
            }
            self.act("StrategyMeetingHeld", {**head, "actor_id": "sam", "actor_role": "icart_social_worker"}, **about, **body)
            return 1
        if not rec["open"] and self._first("disagree", rid):
            who = {**head, "based_on": None, "actor_id": "pat", "actor_role": "icart_police"}
            self.act("RecommendationDisagreed", who, **about, agency="police", ground="the risk is higher than that")
            return 1
        return 0

    def _decide(self, head: Json, about: Json) -> int:
        """Two people press at the same time, each on the same state of things; one of them presses twice."""
        yes: Json = {"decision": "CONVENE", "reason": None, "rationale": None, "meeting_at": None}
        no: Json = {"decision": "DECLINE", "reason": "KNOWN_AND_PLANNED", "rationale": "in the plan", "meeting_at": None}
        first, second = (yes, no) if self._rng.random() < 0.5 else (no, yes)
        self.act("RecommendationDecided", {**head, "actor_id": "mo", "actor_role": "icart_manager"}, **about, **first)
        self.act("RecommendationDecided", {**head, "actor_id": "ed", "actor_role": "edt"}, **about, **second)
        last = [e for e in self._house.history.of("act") if e.details["record"] == "RecommendationDecided"][-1]
        self.press("RecommendationDecided", last.details["value"])
        return 3

    def _receipt(self, message: Json) -> int:
        mid, practice = message["message_id"], message["practice_ods"]
        following = {"WAITING": "ACCEPTED", "ACCEPTED": "READ", "READ": "CODED"}.get(message["state"])
        if following is None or not self._first(following, mid):
            return 0
        head = {"actor_id": practice, "actor_role": "gp_practice"}
        self.act("GpReceipt", head, message_id=mid, practice_ods=practice, state=following, reason=None)
        return 1

    @contextlib.contextmanager
    def busy(self, pause_s: float = 0.5) -> Iterator[None]:
        """They decide, and ask what became of it, again and again while a fault strikes."""
        self.active = True

        def work(enough: threading.Event) -> None:
            while not enough.wait(pause_s):
                self.decide()
                self.listen()

        with meanwhile("people", work, 60):
            yield
