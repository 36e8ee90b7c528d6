"""What the house should conclude, worked out a second time, slowly and simply, from what was sent and what is written.

Shares no code with `domain.fold`, `domain.conclude`, `domain.matching`, their helpers or `projections`. It takes the link rules
from the words of `domain.matching`, the policy from `schemas/policy/*.yaml`, the pairing of episodes from the words of
`domain.missing`, corrections from the words of `domain.selection`; and who is who from the generator's truth.
Instants are µs since 1970 (UTC).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml

from tests.fault.clusters import People, Shown

Json = dict[str, Any]
SCHEMAS: Final = Path(__file__).parents[2] / "schemas"
HOUR, DAY = 3_600_000_000, 86_400_000_000
LONDON: Final = ZoneInfo("Europe/London")


@dataclass(frozen=True)
class Told:
    """A fact with its ledger number and when it was accepted."""

    key: str
    number: int
    at: int
    record: str
    agency: str
    env: Json
    body: Json

    @property
    def happened(self) -> int:
        """When it happened; never later than when we were told."""
        return min(int(self.env["occurred_at"]), self.at)

    @property
    def order(self) -> tuple[int, int, str]:
        """By time of happening as told; of one instant, by when it was recorded."""
        return (int(self.env["occurred_at"]), int(self.env["recorded_at"]), self.key)

    @property
    def recorded(self) -> int:
        """When its agency recorded it: of two tellings of one thing the later counts, of imports none before another."""
        return int(self.env["recorded_at"]) - (1 << 62) * bool(self.env["historic"])


@dataclass
class Episode:
    """A missing episode as its agencies tell it."""

    sources: list[tuple[str, str]]
    type: str | None
    started: int
    ended: int | None
    begun: list[Told]
    ends: list[Told]
    interviews: list[Interview] = field(default_factory=list)
    clock: str = "NOT_STARTED"


@dataclass
class Interview:
    """A return home interview."""

    id: str
    facts: list[Told] = field(default_factory=list)
    ref: str | None = None
    offered: int | None = None
    declined: Told | None = None
    completed: Told | None = None

    @property
    def at(self) -> int:
        """When it came to what it is."""
        if self.completed:
            return int(self.completed.body["completed_at"])
        return int(self.declined.body["declined_at"]) if self.declined else self.offered or 0


@dataclass
class Child:
    """All that is told about one child at one instant, and what follows by the written policy."""

    facts: list[Told]
    states: dict[str, str]
    as_of: int
    births: list[str]
    policy: Json
    closed: set[date]
    breaks: list[tuple[date, date]]

    def __post_init__(self) -> None:
        self.today = datetime.fromtimestamp(self.as_of / 1e6, UTC).astimezone(LONDON).date().isoformat()
        self.now = sorted(
            (f for f in self.facts if self.states[f.key] == "CURRENT" and f.happened <= self.as_of), key=lambda f: f.order
        )
        self.episodes, self.unpaired = self._episodes()
        self.reasons = self._reasons()
        self.points = sum(p for r, (p, _) in self.reasons.items() if r not in self.triggers)
        self.harm = any(r in self.triggers for r in self.reasons)
        self.basis = "HARM" if self.harm else "POINTS" if self.points >= self.policy["threshold"] else None

    @property
    def triggers(self) -> set[str]:
        """The rules that are harm triggers."""
        return {t["id"] for t in self.policy["triggers"]}

    def of(self, *records: str) -> list[Told]:
        """Facts in force, of these records."""
        return [f for f in self.now if f.record in records]

    def back(self, key: str) -> Iterator[str]:
        """A fact, what it superseded, what that superseded."""
        old = {f.key: f.env["supersedes"] for f in self.facts}
        at: str | None = key
        while at is not None:
            yield at
            at = old.get(at)

    # episodes

    def _episodes(self) -> tuple[list[Episode], list[Interview]]:
        strands: dict[tuple[str, str], list[Told]] = defaultdict(list)
        for f in self.of("MissingEpisodeReported", "MissingEpisodeGraded", "MissingEpisodeEnded"):
            strands[(f.agency, f.body["episode_id"])].append(f)
        told = sorted((self._strand(k, v) for k, v in strands.items()), key=lambda e: (e.started, e.sources[0]))
        out: list[Episode] = []
        for one in told:
            same = [e for e in out if self._same(e, one)]
            if not same:
                out.append(one)
                continue
            e = same[-1]
            e.sources += one.sources
            e.begun += one.begun
            e.ends += one.ends
            e.type = e.type or one.type
            both = [x for x in (e.ended, one.ended) if x is not None]
            e.ended = min(both) if both else None
        loose: list[Interview] = []
        for i in self._interviews():
            home = self._home(i, out)
            (home.interviews if home else loose).append(i)
        for e in out:
            e.clock = self._clock(e)
        return out, loose

    def _strand(self, key: tuple[str, str], facts: list[Told]) -> Episode:
        reports, ends = ([f for f in facts if f.record.endswith(x)] for x in ("Reported", "Ended"))
        if reports:
            started = min(int(f.body["last_seen_at"]) for f in reports)
        else:
            said = [int(f.body["started_at"]) for f in ends if f.body["started_at"] is not None]
            started = min(said) if said else min(int(f.env["occurred_at"]) for f in facts)
        kind = max(reports, key=lambda f: (f.recorded, f.order)).body["episode_type"] if reports else None
        ended = int(max(ends, key=lambda f: (f.recorded, f.order)).body["ended_at"]) if ends else None
        return Episode([key], kind, started, ended, reports or list(facts), ends)

    @staticmethod
    def _same(e: Episode, one: Episode) -> bool:
        return (
            abs(one.started - e.started) <= 12 * HOUR
            and (e.type is None or one.type is None or e.type == one.type)
            and one.sources[0][0] not in {a for a, _ in e.sources}
            and (e.ended is None or e.ended > one.started)
        )

    def _interviews(self) -> list[Interview]:
        found: dict[tuple[str, str], Interview] = {}
        told = self.of("ReturnHomeInterviewOffered", "ReturnHomeInterviewDeclined", "ReturnHomeInterviewCompleted")
        for f in sorted(told, key=lambda f: f.recorded):
            i = found.setdefault((f.agency, f.body["interview_id"]), Interview(f.body["interview_id"]))
            i.facts.append(f)
            if f.record.endswith("Declined"):
                i.declined = f
            elif f.record.endswith("Completed"):
                i.completed = f
            else:
                i.offered = min(i.offered or 1 << 62, int(f.body["offered_at"]))
        for i in found.values():
            refs = [f.body.get("episode_ref") for f in i.facts if f.body.get("episode_ref")]
            i.ref = refs[-1] if refs else None
        return [found[k] for k in sorted(found, key=lambda k: (found[k].at, k))]

    @staticmethod
    def _home(i: Interview, episodes: list[Episode]) -> Episode | None:
        named = [e for e in episodes if i.ref and i.ref in {n for _, n in e.sources}]
        if named:
            return min(named, key=lambda e: abs(i.at - (e.ended or e.started)))
        before = [e for e in episodes if e.ended is not None and 0 <= i.at - e.ended <= 30 * DAY]
        return max(before, key=lambda e: (e.ended or 0, e.started)) if before else None

    def _clock(self, e: Episode) -> str:
        if e.ended is None:
            return "NOT_STARTED"
        due = e.ended + 72 * HOUR
        told = [i.completed.body for i in e.interviews if i.completed]
        done = [int(b["completed_at"]) for b in told if b["independent"] in (True, None)]
        if done:
            return "MET" if min(done) <= due else "LATE"
        if any(i.declined for i in e.interviews):
            return "DECLINED"
        return "RUNNING" if self.as_of < due else "OVERDUE"

    # risk

    def _reasons(self) -> dict[str, tuple[int, frozenset[str]]]:
        out: dict[str, tuple[int, frozenset[str]]] = {}
        signals: dict[str, Told] = {}
        by_key = {f.key: f for f in self.now}
        rules = [*self.policy["triggers"], *self.policy["points"]]
        for rule in sorted(rules, key=lambda r: r["kind"] == "corroboration"):
            trigger = rule["id"] in self.triggers
            found = (
                self._corroboration(rule, signals)
                if rule["kind"] == "corroboration"
                else getattr(self, f"_{rule['kind']}")(rule, trigger)
            )
            if found is None:
                continue
            points, facts = found
            out[rule["id"]] = (points, frozenset(facts))
            if rule.get("signal"):
                signals |= {k: by_key[k] for k in facts}
        return out

    def _since(self, f: Told, *, trigger: bool) -> int:
        return max(f.happened, f.at) if trigger and not f.env["historic"] else f.happened

    def _open(self, since: int, days: int) -> bool:
        return self.as_of < since + days * DAY

    def _named(self, rule: Json) -> list[Told]:
        out = []
        for f in self.of(*rule["records"]):
            codes = {c for name in rule["records"][f.record] for c in f.body.get(name) or ()}
            if codes and ("codes" not in rule or codes & set(rule["codes"])):
                out.append(f)
        return out

    def _codes(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        named = self._named(rule)
        recent = [f.key for f in named if self._open(self._since(f, trigger=trigger), rule["window_days"])]
        if recent:
            return rule.get("points", 0), recent
        older = [f.key for f in named if rule.get("older_points") and self._open(f.happened, rule["older_days"])]
        return (rule["older_points"], older) if older else None

    def _codes_under_age(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        if not self.births:
            return None
        y, m, d = map(int, max(self.births).split("-"))
        keys = []
        for f in self._named(rule):
            on = datetime.fromtimestamp(int(f.env["occurred_at"]) / 1e6, UTC).astimezone(LONDON).date()
            age = on.year - y - ((on.month, on.day) < (m, d))
            if age < rule["age_under"] and self._open(self._since(f, trigger=trigger), rule["window_days"]):
                keys.append(f.key)
        return (rule.get("points", 0), keys) if keys else None

    def _graded_while(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        graded = [
            f
            for f in self.of("MissingEpisodeGraded")
            if f.body["grade"] in rule["codes"] and self._open(self._since(f, trigger=True), rule["window_days"])
        ]
        statuses = sorted(
            ((f.body["from_date"] or _day(f.happened), n, f) for n, f in enumerate(self.of("SocialCareStatus"))),
            key=lambda x: x[:2],
        )
        plans: dict[tuple[str, str, str], Told] = {}
        for f in sorted(self.of("CpisStatusChanged"), key=lambda f: f.recorded):
            plans[(f.agency, f.body["plan_type"], f.body["start_date"] or "")] = f
        between = {k[1:]: f for k, f in sorted(plans.items(), key=lambda x: x[1].order)}
        keys: list[str] = []
        for g in graded:
            held = set()
            for day in self._away(g):
                # the status that the day began with, and the one that it ended with
                for some in ([s for s in statuses if s[0] < day], [s for s in statuses if s[0] <= day]):
                    held |= {f.key for _, _, f in some[-1:] if f.body["status"] in rule["statuses"]}
                for f in between.values():
                    kind = {"CPPI": "CP", "UCPI": "CP", "LACI": "LAC"}.get(f.body["plan_type"])
                    if kind in rule["statuses"] and (f.body["start_date"] or "") <= day <= (f.body["end_date"] or "9999"):
                        held.add(f.key)
            keys += [g.key, *sorted(held)] if held else []
        return (0, keys) if keys else None

    def _away(self, grade: Told) -> list[str]:
        """The days from a grade on, on which the child was away as far as anybody reported it; the grade's own at least."""
        (episode,) = [e for e in self.episodes if (grade.agency, grade.body["episode_id"]) in e.sources]
        days = [_day(grade.happened)]
        if any(f.record == "MissingEpisodeReported" for f in episode.begun):
            end = min(self.today, _day(episode.ended)) if episode.ended is not None else self.today
            while days[-1] < end:
                days.append((date.fromisoformat(days[-1]) + timedelta(days=1)).isoformat())
        return days

    def _recently_missing(self, rule: Json) -> list[Episode]:
        return [e for e in self.episodes if self._open(e.started, rule["window_days"])]

    @staticmethod
    def _first(episodes: Sequence[Episode]) -> list[str]:
        return [min(e.begun, key=lambda f: f.order).key for e in episodes]

    @staticmethod
    def _tier(rule: Json, amount: float) -> int:
        return max((points for least, points in rule["tiers"].items() if amount >= least), default=0)

    def _missing_count(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        found = self._recently_missing(rule)
        points = self._tier(rule, len(found))
        return (points, self._first(found)) if points else None

    def _missing_overnight(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        found = [
            e for e in self._recently_missing(rule) if (e.ended if e.ended is not None else self.as_of) >= _four_after(e.started)
        ]
        return (rule["points"], self._first(found)) if found else None

    def _missing_repeat(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        found = [
            e
            for e in self._recently_missing(rule)
            if any(
                p is not e and p.ended is not None and 0 <= e.started - p.ended <= rule["within_days"] * DAY
                for p in self.episodes
            )
        ]
        return (rule["points"], self._first(found)) if found else None

    def _interview(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        found = [
            e
            for e in self.episodes
            if e.ended is not None and self._open(e.ended, rule["window_days"]) and e.clock in rule["states"]
        ]
        keys = [f.key for e in found for f in (*e.ends, *(x for i in e.interviews for x in i.facts))]
        return (rule["points"], keys) if keys else None

    def _count(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        found = [f.key for f in self.of(*rule["records"]) if self._open(f.happened, rule["window_days"])]
        points = self._tier(rule, len(found))
        return (points, found) if points else None

    def _absence(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        points = {
            f.key: self._tier(rule, 100 * f.body["sessions_missed"] / f.body["sessions_possible"])
            for f in self.of("SchoolAbsence")
            if f.body["sessions_possible"] >= 10 and self._open(f.happened, rule["window_days"])
        }
        found = [key for key, given in points.items() if given]
        return (max(points.values()), found) if found else None

    def _no_provision(self, rule: Json, trigger: bool) -> tuple[int, list[str]] | None:
        spans: dict[tuple[str, str], Told] = {}
        ends: dict[tuple[str, str], str] = {}
        for f in sorted(self.of("NoSchoolProvision"), key=lambda f: f.recorded):
            if f.body["reason"] == "ENDED":
                ends[f.agency, f.body["from_date"]] = f.body["to_date"] or f.body["from_date"]
            else:
                spans[(f.body["from_date"], f.agency)] = f
        best: tuple[int, str] | None = None
        for (first, agency), f in sorted(spans.items()):
            lasts = [d for (a, _), d in ends.items() if a == agency and d >= first] + (
                [f.body["to_date"]] if f.body["to_date"] else []
            )
            last = min(lasts) if lasts else None
            if last is not None and last < self.today:
                continue
            days = self._school_days(date.fromisoformat(first), date.fromisoformat(min(last or self.today, self.today)))
            if best is None or days > best[0]:
                best = (days, f.key)
        points = self._tier(rule, best[0]) if best else 0
        return (points, [best[1]]) if best and points else None

    def _school_days(self, first: date, last: date) -> int:
        count = 0
        while first <= last:
            count += first.weekday() < 5 and first not in self.closed and not any(a <= first <= b for a, b in self.breaks)
            first += timedelta(days=1)
        return count

    def _corroboration(self, rule: Json, signals: Mapping[str, Told]) -> tuple[int, list[str]] | None:
        near = [f for f in signals.values() if self._open(f.happened, rule["window_days"])]
        keys: set[str] = set()
        most = 0
        for first in near:
            span = [f for f in near if 0 <= f.happened - first.happened <= rule["within_days"] * DAY]
            if len({f.agency for f in span}) > 1:
                most = max(most, len({f.agency for f in span}))
                keys |= {f.key for f in span}
        points = self._tier(rule, most) if most else 0
        return (points, sorted(keys)) if points else None


def _day(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone(LONDON).date().isoformat()


def _four_after(us: int) -> int:
    when = datetime.fromtimestamp(us // 1_000_000, UTC).astimezone(LONDON)
    at = when.replace(hour=4, minute=0, second=0, microsecond=0)
    while round(at.timestamp() * 1e6) <= us:
        day = at.date() + timedelta(days=1)
        at = datetime(day.year, day.month, day.day, 4, tzinfo=LONDON)
    return round(at.timestamp() * 1e6)


class Corrections:
    """Facts that replace or withdraw others, by what they correct: they may be on any child, and come before it."""

    def __init__(self, told: Iterable[Told] = ()) -> None:
        self._of: dict[str, list[Told]] = defaultdict(list)
        for fact in told:
            self.add(fact)

    def add(self, fact: Told) -> None:
        """Know one more."""
        for old in {fact.env["supersedes"], fact.env["retracts"]} - {None}:
            self._of[old].append(fact)

    def of(self, fact: Told, kind: str) -> list[Told]:
        """What says that it `supersedes` or `retracts` this one, by the same agency."""
        return [f for f in self._of.get(fact.key, ()) if f.env[kind] == fact.key and f.agency == fact.agency]

    def acts(self, retraction: Told, under: frozenset[str] = frozenset()) -> bool:
        """A retraction acts unless one that acts withdraws it. Asked `under` itself again (a ring of them), it does not."""
        if retraction.key in under:
            return False
        return not any(self.acts(f, under | {retraction.key}) for f in self.of(retraction, "retracts"))

    def state(self, fact: Told, home: Callable[[str], object]) -> str:
        """CURRENT, SUPERSEDED or RETRACTED.

        `home` gives the child of a fact: on another child's view than the correction's own, the old fact reads SUPERSEDED.
        """
        said = [f for f in self.of(fact, "retracts") if self.acts(f, frozenset({fact.key}))]
        if said:
            return "RETRACTED" if any(home(f.key) == home(fact.key) for f in said) else "SUPERSEDED"
        return "SUPERSEDED" if self.of(fact, "supersedes") else "CURRENT"


class Oracle:
    """Everything expected of a run."""

    def __init__(self, sent: Iterable[Any], holders: Mapping[tuple[str, str], str]) -> None:
        """`sent`: facts of the generator; `holders`: true child by (agency, local id)."""
        self.sent = {f.key: f for f in sent}
        self.people = People(self.sent.values(), holders)
        (policy,) = [yaml.safe_load(p.read_text()) for p in sorted((SCHEMAS / "policy").glob("*.yaml"))]
        self.policy: Json = policy
        calendars = yaml.safe_load((SCHEMAS / "calendars.yaml").read_text())
        (school,) = [c for c in calendars["calendars"] if c["id"] == "schools-halton"]
        self._closed = {*calendars["england_bank_holidays"], *school["closed"]}
        self._breaks = [(a, b) for a, b in school["breaks"]]

    def told(self, accepted: Mapping[str, tuple[int, int]]) -> list[Told]:
        """The sent facts that were accepted; `accepted` gives (number, accepted_at) by key."""
        out = []
        for key, (number, at) in accepted.items():
            f = self.sent[key]
            body = {k: v for k, v in f.value.items() if k != "envelope"}
            out.append(Told(key, number, at, f.record, f.agency, f.value["envelope"], body))
        return out

    def child(
        self,
        facts: list[Told],
        corrections: Corrections,
        presentations: Iterable[Shown],
        as_of: int,
        home: Callable[[str], object],
    ) -> Child:
        """One child of these facts at `as_of`. `home`: see `Corrections.state`."""
        births = [b for s in presentations if (b := s.get("birth_date")) and b > "1990"]
        states = {f.key: corrections.state(f, home) for f in facts}
        return Child(facts, states, as_of, births, self.policy, self._closed, self._breaks)

    def seen(self, facts: list[Told], corrections: Corrections, raised: int, now: Child) -> Child:
        """What a recommendation raised at entry `raised` listed, weighed at the instant of `now`.

        `facts` were on the child by then. One withdrawn since is left out, one that was only replaced since is not.
        """
        gone = {f.key for f in facts if any(c.number <= raised for c in corrections.of(f, "supersedes"))}
        left = [f for f in facts if now.states[f.key] != "RETRACTED" and f.key not in gone]
        return Child(left, {f.key: "CURRENT" for f in left}, now.as_of, now.births, self.policy, self._closed, self._breaks)

    def gone(self, now: Child, listed: Iterable[Child]) -> set[str]:
        """What recommendations listed that is not in force now, where nothing told in its place lets the same rule hold."""
        stands = {rule: {k for key in keys for k in now.back(key)} for rule, (_, keys) in now.reasons.items()}
        here = {f.key for f in now.now}
        said = [(rule, keys - here) for c in listed for rule, (_, keys) in c.reasons.items()]
        return {k for rule, lost in said for k in lost - stands.get(rule, set())}

    def news(self, now: Child, listed: Child, seen: Child, gone: set[str]) -> bool:
        """Is there a harm trigger, an agency or enough points that the recommendation did not list?

        `gone`: what it listed and people were, or are now, told to be gone; a trigger that is back on it is new.
        """
        agency = {f.key: f.agency for c in (now, listed) for f in c.facts}
        known = {f.key for f in seen.facts} - gone

        def new(rule: str, key: str) -> bool:
            return not (known & listed.reasons.get(rule, (0, frozenset()))[1]).intersection(now.back(key))

        def whose(child: Child) -> set[str]:
            return {agency[key] for _, keys in child.reasons.values() for key in keys}

        return (
            any(new(rule, key) for rule in now.reasons.keys() & now.triggers for key in now.reasons[rule][1])
            or bool(whose(now) - whose(seen) - whose(listed))
            or now.points - seen.points >= self.policy["reraise"]["points"]
        )

    def home(self, key: str) -> int:
        """The final child of a fact, by a number of its own."""
        return self.people.cluster_of[self.people.of[key]]

    def children(self, told: list[Told]) -> Iterator[tuple[frozenset[Shown], list[Told]]]:
        """The final children with their facts."""
        by: dict[int, list[Told]] = defaultdict(list)
        for f in told:
            by[self.home(f.key)].append(f)
        for n, facts in sorted(by.items()):
            yield self.people.clusters[n], facts
