"""What the web needs from the rest of the house: `Reading` (views, implemented over projections) and `Speaking` (acts).

Views are the unredacted documents of docs/child-view.md: whatever leaves the house passes `web.readers.redacted`, here, on
every way out. Instants are µs since 1970, UTC. Every method may raise `Unavailable`; none takes or gives names of tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from domain.problems import SightlineError
from domain.searching import SearchTerms

Json = dict[str, Any]


class Unavailable(SightlineError):
    """The database or the broker is away for now; trying again later is right, and nothing was recorded."""


class PerhapsSent(Unavailable):
    """An act may have been recorded or not: said again under the same id, it counts once."""


@dataclass(frozen=True, slots=True)
class MatchPair:
    """A presentation that may be a child.

    `presentation` has the shape of an item of `possible_matches` in the child view (presentation_id, agency, fields,
    evidence, raised_at, state, sharing); `child` is the unredacted view of the child it may be; `other_child_id` is the child
    the presentation is on now (its own cluster, before a confirmation). `version`: the ledger number this rests on.
    """

    match_id: str
    state: str
    raised_at: int
    version: int
    presentation: Json
    child: Json
    other_child_id: str | None
    history: Sequence[Json] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class InboxItem:
    """A message in a practice's inbox."""

    message_id: str
    state: str
    sent_at: int


@dataclass(frozen=True, slots=True)
class GpException:
    """A GP message that did not arrive, for a named role. `child` is the unredacted view; `message` one of its `messages`."""

    message_id: str
    child: Json
    message: Json


Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Listed(Generic[Thing]):
    """One page of a list, and how many there are on all pages: nothing is cut without a word."""

    items: Sequence[Thing]
    total: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of an act, once topic `ledger` has acknowledged its entry. `verdict`: ACCEPTED, DUPLICATE or REFUSED.

    `said`: what the act's id stands for (`domain.saying`); empty when that is not kept (it was refused, or is erased).
    """

    verdict: str
    reason: str | None
    number: int
    accepted_at: int
    said: bytes = b""


@dataclass(frozen=True, slots=True)
class Measure:
    """One table of counts for the board, unsuppressed: `rows` are (label, count). A zero count is a finding too (R5)."""

    id: str
    title: str
    column: str
    rows: Sequence[tuple[str, int]]
    about_people: bool = True


class Reading(Protocol):
    """Read the views."""

    def queue(self, limit: int, offset: int = 0) -> Listed[Json]:
        """Views of children with a recommendation that waits for somebody: harm first, then passed on, then earliest due."""

    def recently_decided(self, since: int, limit: int, offset: int = 0) -> Listed[Json]:
        """Views of children with a recommendation convened, declined, held or closed since then, newest first."""

    def child_view(self, child_id: str, as_of: int | None = None, known_at: int | None = None) -> Json | None:
        """One child's view: today's, or as it was true at `as_of` and known at `known_at`."""

    def child_version(self, child_id: str) -> int | None:
        """The version of the newest view, cheaply."""

    def children_of(self, presentation_ids: Sequence[str]) -> Sequence[str]:
        """The children on which these presentations are today."""

    def search(self, terms: SearchTerms, limit: int, offset: int = 0) -> Sequence[Json]:
        """Views of children that fit every term given, best first."""

    def possible_matches(self, state: str, limit: int, offset: int = 0) -> Listed[MatchPair]:
        """Possible matches in a state (OPEN, CONFIRMED, REJECTED, UNDONE), oldest first when open, else newest first."""

    def possible_match(self, match_id: str) -> MatchPair | None:
        """One possible match."""

    def recommendation(self, recommendation_id: str) -> tuple[str, Json] | None:
        """The child id and view of the child a recommendation is about."""

    def gp_inbox(
        self, practice_ods: str, states: Sequence[str], after: tuple[int, str] | None = None, limit: int | None = None
    ) -> Sequence[InboxItem]:
        """A practice's own messages, oldest first; never a withdrawn one. At most `limit`, after (sent at, message id)."""

    def gp_message(self, message_id: str, practice_ods: str) -> tuple[Json, Json] | None:
        """(child view, its item of `messages`) when the message is in this practice's inbox."""

    def gp_exceptions(self, limit: int, offset: int = 0) -> Listed[GpException]:
        """Messages with an exception that nobody has resolved, oldest first."""

    def gp_exception(self, message_id: str) -> GpException | None:
        """One of them."""

    def entry_for(self, event_id: str) -> Entry | None:
        """What became of an act; None until the ledger topic has acknowledged its entry."""

    def feed_position(self) -> int:
        """The highest ledger number that readers may see."""

    def wait_for_change(self, after: int, timeout_s: float) -> int:
        """Block until `feed_position() > after`, or the time is over; the position then."""

    def status(self) -> Json:
        """{number, relayed, relay_age_s, lag [{topic, partition, behind}], dead_letters {agency: n}, positions [{topic,
        partition, next_offset, owner}], warnings [text]}; no personal data.
        """

    def dead_letters(self, agency: str | None, limit: int) -> Sequence[Json]:
        """Dead letters (fields of the `DeadLetter` record), newest first."""

    def dead_letter(self, letter_id: str) -> Json | None:
        """One dead letter."""

    def pulse(self) -> Sequence[Json]:
        """Latest windows: {agency, record, window_start, window_seconds, facts}. Never authoritative."""

    def measures(self) -> Sequence[Measure]:
        """Counts for the board."""

    def ready(self) -> Mapping[str, bool]:
        """What the web needs to serve, by part (views, ledger feed, …)."""


class Speaking(Protocol):
    """Say what a person or a practice did."""

    def send(self, record_name: str, value: Mapping[str, Any]) -> str:
        """Put an act on its topic (decisions or receipts) and return its event_id once the broker has acknowledged it.

        Raises:
            InvalidFact: the act breaks the contract.
            Unavailable: the broker is away; nothing was sent.
        """
