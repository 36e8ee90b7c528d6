"""How a person's act is said once: a ticket when the form opens, one send, a short wait for the ledger's answer.

The ticket (signed) carries the act's id and the version the person saw. Pressing twice, or pressing "check again", is one act:
a second sending carries the same bytes, because what was sent is remembered here or comes back in the ticket.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import uuid4

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy.exc import SQLAlchemyError

from domain.problems import InvalidFact, SightlineError
from domain.saying import said
from web.ports import Entry, PerhapsSent, Reading, Speaking, Unavailable

POLL_S: Final = 0.05
SENT_MAX: Final = 2_000
"""Acts remembered by one process, about 10 KB each at most."""


class BadTicket(SightlineError):
    """The form's ticket is not ours, or is about something else: open the form again."""


class SaidOtherwise(SightlineError):
    """The same opened form came back with other words: the first stands; open the form again to add to it."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One opened form: the act's id, what it is about, the version seen, and when it was first sent (None: not yet)."""

    event_id: str
    about: str
    based_on: int | None
    acted_at: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an act: its entry, or None while the ledger has not answered. `ticket` asks again about the same act."""

    ticket: str
    entry: Entry | None

    @property
    def pending(self) -> bool:
        """The ledger has not answered yet."""
        return self.entry is None

    @property
    def refused(self) -> bool:
        """Not accepted; `entry.reason` says why."""
        return self.entry is not None and self.entry.verdict not in ("ACCEPTED", "DUPLICATE")


class Acting:
    """Say acts and wait for the ledger."""

    def __init__(self, reading: Reading, speaking: Speaking, secret: str, clock: Callable[[], int], wait_s: float) -> None:
        self._reading = reading
        self._speaking = speaking
        self._signer = URLSafeSerializer(secret, salt="act")
        self._clock = clock
        self._wait_s = wait_s
        self._sent: OrderedDict[str, tuple[str, Mapping[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, about: str, based_on: int | None) -> str:
        """A ticket for a form that is being opened."""
        return self._seal(Ticket(str(uuid4()), about, based_on))

    def read(self, sealed: str, about: str) -> Ticket:
        """The ticket of a form that came back. Raises: BadTicket."""
        try:
            event_id, found, based_on, acted_at = self._signer.loads(sealed)
        except (BadSignature, ValueError, TypeError) as err:
            raise BadTicket("the form's ticket is not valid; open the form again") from err
        if found != about:
            raise BadTicket("the form's ticket is about something else; open the form again")
        return Ticket(event_id, about, based_on, acted_at)

    def was_sent(self, ticket: Ticket) -> bool:
        """Whether this form was sent before: by this process, as its ticket says, or by another one as the ledger says."""
        return self._asked_again(ticket) or self._reading.entry_for(ticket.event_id) is not None

    def _asked_again(self, ticket: Ticket) -> bool:
        return ticket.acted_at is not None or ticket.event_id in self._sent

    def say(
        self,
        record: str,
        ticket: Ticket,
        *,
        actor_id: str,
        role: str,
        child_id: str | None,
        body: Mapping[str, Any],
        correlation_id: str | None = None,
    ) -> Outcome:
        """Send the act (once) and wait for its entry.

        Raises:
            SaidOtherwise: this id already stands for something else: other words, another record or another subject.
            InvalidFact: nothing was sent.
            PerhapsSent: ask again with the same ticket (`again`).
            Unavailable, SQLAlchemyError: nothing was sent.
        """  # fmt: skip
        before = self._asked_again(ticket)
        act = {
            "event_id": ticket.event_id, "actor_id": actor_id, "actor_role": role, "child_id": child_id,
            "acted_at": ticket.acted_at or self._clock(), "based_on": ticket.based_on,
            "correlation_id": correlation_id or ticket.event_id,
        }  # fmt: skip
        value = self._remembered(ticket, record, {"act": act, **body})
        asked_again = replace(ticket, acted_at=value["act"]["acted_at"])
        try:
            entry = self._reading.entry_for(ticket.event_id)
        except (Unavailable, SQLAlchemyError) as err:
            if before:
                raise PerhapsSent("the views are away, and it may have been sent before") from err
            self._sent.pop(ticket.event_id, None)
            raise
        if entry is None:
            try:
                self._speaking.send(record, value)
            except InvalidFact:
                self._sent.pop(ticket.event_id, None)  # nothing was sent: the words may still be changed
                raise
            except Unavailable as err:
                raise PerhapsSent("the broker has not said whether it has it") from err
            entry = self._wait(ticket.event_id)
        if entry is not None and entry.said not in (b"", said(record, value)):
            self._sent.pop(ticket.event_id, None)
            raise SaidOtherwise("this id was used before for something else")
        return Outcome(self._seal(asked_again), entry)

    def again(self, ticket: Ticket) -> str:
        """A ticket that asks again about an act that was perhaps sent."""
        known = self._sent.get(ticket.event_id)
        return self._seal(replace(ticket, acted_at=known[1]["act"]["acted_at"] if known else ticket.acted_at))

    def _remembered(self, ticket: Ticket, record: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._lock:
            first, known = self._sent.setdefault(ticket.event_id, (record, value))
            self._sent.move_to_end(ticket.event_id)
            while len(self._sent) > SENT_MAX:
                self._sent.popitem(last=False)
        if said(first, known) != said(record, value):
            raise SaidOtherwise("this form was sent before with other words")
        return known

    def _wait(self, event_id: str) -> Entry | None:
        until = time.monotonic() + self._wait_s
        while (found := self._told(event_id)) is None and time.monotonic() < until:
            time.sleep(POLL_S)
        return found

    def _told(self, event_id: str) -> Entry | None:
        """The entry of what was sent; None also while nobody can say."""
        try:
            return self._reading.entry_for(event_id)
        except (Unavailable, SQLAlchemyError):
            return None

    def _seal(self, ticket: Ticket) -> str:
        sealed = self._signer.dumps([ticket.event_id, ticket.about, ticket.based_on, ticket.acted_at])
        return sealed.decode() if isinstance(sealed, bytes) else sealed
