"""Missing episodes and the interviews after them, at the rates of domain.md 3f. Instants are µs UTC."""

from __future__ import annotations

from random import Random
from typing import Any, Final
from uuid import uuid5

from domain.times import DAY_US, HOUR_US
from producers.halton import rates
from producers.halton.facts import MINUTE_US, NAMESPACE, Scribe, SimulatedFact
from producers.halton.names import PLACES
from producers.halton.population import weighted

WEEKS_4_US: Final = 28 * DAY_US
HOURS_72_US: Final = 72 * HOUR_US
OWN_LABEL: Final = {
    "NO_APPARENT": "Absent", "VERY_LOW": "Very low risk", "LOW": "Low risk", "MEDIUM": "Medium risk", "HIGH": "High risk",
}  # fmt: skip
PUSH: Final = (
    ("FAMILY_CONFLICT", 0.35), ("UNHAPPY_PLACEMENT", 0.2), ("SCHOOL_PROBLEMS", 0.12), ("DOMESTIC_ABUSE", 0.1),
    ("BULLYING", 0.08), ("LONELINESS", 0.08), ("PARENTAL_SUBSTANCE", 0.07),
)  # fmt: skip
PULL: Final = (
    ("PEERS", 0.4), ("FAMILY_FRIENDS", 0.2), ("PARTNER", 0.14), ("BIRTH_FAMILY", 0.12), ("PARTIES", 0.06), ("SUBSTANCE", 0.05),
    ("OLDER_ASSOCIATE", 0.03),
)  # fmt: skip
WORDS: Final = (
    "I was not missing, everybody knew where I was.", "I only wanted to see my mates.", "They shout at me there so I left.",
    "I wanted to see my mum.", "I lost track of the time.", "I do not want to talk about the people I was with.",
)  # fmt: skip


def counts(rng: Random, children: int) -> list[int]:
    """How often each of `children` goes missing in a year: a heavy tail in which 5 % have about 30 % of the episodes."""
    tail = max(1, round(children * rates.MISSING_TAIL)) if children else 0
    often = [rates.MISSING_TAIL_FLOOR + _geometric(rng, rates.MISSING_TAIL_MEAN) for _ in range(tail)]
    return often + [_geometric(rng, rates.MISSING_MEAN_REST) for _ in range(children - tail)]


def episode_times(rng: Random, count: int, start: int, end: int) -> list[int]:
    """When `count` episodes begin, in [start, end), half a day apart or more; half of the first repeats come within 28 days."""
    gaps: list[int] = []
    for n in range(count - 1):
        if n == 0 and rng.random() < rates.REPEAT_IN_4_WEEKS:
            gaps.append(rng.randrange(DAY_US, WEEKS_4_US))
        else:
            gaps.append(WEEKS_4_US * (n == 0) + DAY_US + round(rng.expovariate(1 / 35) * DAY_US))
    room = (end - start) * 97 // 100
    if sum(gaps) > room:
        gaps = [max(DAY_US // 2, g * room // sum(gaps)) for g in gaps]
    at = start + rng.randrange(max(1, end - start - sum(gaps)))
    times = [at]
    for gap in gaps:
        times.append(times[-1] + gap)
    return [t for t in times if t < end]


def absent(scribe: Scribe, last_seen: int, *, looked_after: bool, until: int) -> int:
    """One whole episode and its interview, as police (social care for type A) and the provider tell it; returns its end."""
    rng = scribe.rng
    length = round(rates.MISSING_HOURS_MEDIAN * HOUR_US * rng.lognormvariate(0, rates.MISSING_HOURS_SIGMA))
    reported = last_seen + round(min(6 * HOUR_US, length * 0.8) * rng.uniform(0.2, 1))
    ended = min(max(reported + HOUR_US // 4, last_seen + length), max(until, reported + HOUR_US))
    if looked_after and rng.random() < rates.AWAY_TYPE_A:
        opened = report(scribe, reported, last_seen, agency="csc", kind="A")
        end(scribe, opened, ended)
    else:
        opened = report(scribe, reported, last_seen)
        grade = weighted(rng, rates.GRADES)
        grade_episode(scribe, opened, reported + rng.randrange(20, 90) * MINUTE_US, grade)
        if rng.random() < rates.REGRADED and ended > reported + 4 * HOUR_US:
            up = {"VERY_LOW": "LOW", "LOW": "MEDIUM", "MEDIUM": "HIGH", "HIGH": "MEDIUM"}[grade]
            grade_episode(scribe, opened, reported + 3 * HOUR_US, up)
        end(scribe, opened, ended)
    interview(scribe, opened, ended)
    return ended


def report(scribe: Scribe, at: int, last_seen: int, *, agency: str = "police", kind: str = "M", **said: Any) -> SimulatedFact:
    """A report that the child is missing. The true episode is named by the fact's `episode`."""
    rng, name = scribe.rng, scribe.new_id()
    body = {
        "episode_id": f"{'MP' if agency == 'police' else 'AW'}-{name[:8]}", "episode_type": kind, "last_seen_at": last_seen,
        "last_seen_place": rng.choice(PLACES), "circumstances": "Left after tea and did not come back at the agreed time.",
        "out_of_character": rng.choice((True, False, None)),
    }  # fmt: skip
    if agency == "csc":
        said.setdefault("reported_by", "Children's home")
    return scribe.say(agency, "MissingEpisodeReported", at, body, episode=str(uuid5(NAMESPACE, name)), **said)


def grade_episode(scribe: Scribe, opened: SimulatedFact, at: int, grade: str, **said: Any) -> SimulatedFact:
    """Police grade the episode that `opened`."""
    body = {
        "episode_id": opened.value["episode_id"], "grade": grade, "own_label": OWN_LABEL[grade],
        "graded_by": "Duty inspector, confirmed by supervisor",
        "rationale": "Age, time of day, earlier episodes and who they may be with.",
    }  # fmt: skip
    return scribe.say("police", "MissingEpisodeGraded", at, body, episode=opened.episode, causation_id=opened.key, **said)


def end(scribe: Scribe, opened: SimulatedFact, at: int, found_with: str | None = None, **said: Any) -> SimulatedFact:
    """The child is found or comes back."""
    rng, roll = scribe.rng, scribe.rng.random()
    if found_with is None:
        usual = weighted(rng, (("FRIENDS", 0.45), ("ALONE", 0.2), ("FAMILY", 0.15), ("PARTNER", 0.08), ("UNKNOWN", 0.12)))
        grave = "EXPLOITER" if roll < rates.FOUND_WITH_EXPLOITER else "WEAPON"
        found_with = grave if roll < rates.FOUND_WITH_EXPLOITER + rates.FOUND_WITH_WEAPON else usual
    agency = opened.agency
    body = {
        "episode_id": opened.value["episode_id"], "outcome": rng.choice(("FOUND", "RETURNED")), "ended_at": at,
        "started_at": opened.value["last_seen_at"] if rng.random() < 0.9 else None, "found_place": rng.choice(PLACES),
        "found_with": [found_with], "harm": ["NONE_KNOWN"] if rng.random() < 0.9 else [rng.choice(("SUBSTANCE", "VIOLENCE"))],
        "prevention_check_done": rng.random() < 0.8 if agency == "police" else None,
    }  # fmt: skip
    return scribe.say(agency, "MissingEpisodeEnded", at, body, episode=opened.episode, causation_id=opened.key, **said)


def interview(scribe: Scribe, opened: SimulatedFact, returned: int) -> None:
    """The return home interview: offered, declined or completed, or none of these (domain.md 3f)."""
    rng = scribe.rng
    if rng.random() >= rates.RHI_OFFERED:
        return
    at = returned + round(min(3.5, rng.expovariate(1 / 0.9)) * DAY_US)
    offered = offer(scribe, opened, at)
    if rng.random() >= rates.RHI_ACCEPTED:
        reason = weighted(
            rng, (("CHILD_DECLINED", 0.6), ("PARENT_DECLINED", 0.15), ("NOT_CONTACTABLE", 0.2), ("MISSING_AGAIN", 0.05))
        )
        when = at + rng.randrange(HOUR_US, 3 * DAY_US)
        body = {
            "interview_id": offered.value["interview_id"],
            "episode_ref": offered.value["episode_ref"],
            "declined_at": when,
            "reason": reason,
        }
        scribe.say("rhi", "ReturnHomeInterviewDeclined", when, body, episode=opened.episode, causation_id=offered.key)
        return
    soon = rng.random() < rates.RHI_IN_72H
    if soon:
        when = min(
            max(at + HOUR_US, returned + rng.randrange(12 * HOUR_US, HOURS_72_US)),
            max(returned + HOURS_72_US - 1, at + HOUR_US),
        )
    else:
        when = max(at, returned + HOURS_72_US) + rng.randrange(HOUR_US, 9 * DAY_US)
    complete(scribe, offered, when)


def offer(scribe: Scribe, opened: SimulatedFact, at: int, **said: Any) -> SimulatedFact:
    """The provider offers an interview; nine times in ten it has the episode's reference."""
    ref = opened.value["episode_id"] if scribe.rng.random() < rates.RHI_KNOWS_EPISODE else None
    body = {
        "interview_id": f"RHI-{scribe.new_id()[:8]}",
        "episode_ref": ref,
        "offered_at": at,
        "offered_by": "Interview coordinator",
    }
    return scribe.say("rhi", "ReturnHomeInterviewOffered", at, body, episode=opened.episode, **said)


def complete(scribe: Scribe, offered: SimulatedFact, at: int, **said: Any) -> SimulatedFact:
    """The interview is held; some of it is said in confidence."""
    rng = scribe.rng
    pull = weighted(rng, PULL)
    body = {
        "interview_id": offered.value["interview_id"], "episode_ref": offered.value["episode_ref"], "completed_at": at,
        "method": weighted(rng, (("FACE_TO_FACE", 0.75), ("PHONE", 0.18), ("VIDEO", 0.07))), "independent": True,
        "alone": rng.random() < 0.8, "push": [weighted(rng, PUSH)], "pull": [pull], "harm": ["NONE_KNOWN"],
        "child_words": rng.choice(WORDS) if rng.random() < 0.8 else None, "where_stayed": rng.choice(PLACES),
        "with_whom": ["OLDER_ASSOCIATE"] if pull == "OLDER_ASSOCIATE" else ["FRIENDS"], "disclosed_crime": False,
        "safety_plan": "Keep the phone charged, call home by ten, ring the project when it gets too much.",
        "consent_to_share": rng.choice((True, True, None)),
    }  # fmt: skip
    if rng.random() < rates.RHI_IN_CONFIDENCE:
        said.setdefault("scope", "CONFIDENCE")
    return scribe.say("rhi", "ReturnHomeInterviewCompleted", at, body, episode=offered.episode, causation_id=offered.key, **said)


def _geometric(rng: Random, mean: float) -> int:
    """1, 2, 3 … with the given mean."""
    count = 1
    while rng.random() > 1 / mean:
        count += 1
    return count
