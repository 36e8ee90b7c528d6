"""Missing episodes and their interviews as the view lists them (docs/child-view.md)."""

from __future__ import annotations

from domain.labelling import rest_on
from domain.missing import Episode, Interview
from domain.model import Fact, Json
from domain.policy import Reference
from domain.selection import Known, in_time
from domain.times import DAY_US, HOUR_US, bounded


def shown(episode: Episode, known: Known, reference: Reference) -> Json:
    """The episode as the view lists it. What rests on other facts than those that say it began is a part, withheld by itself."""
    ends = episode.ends
    grades = sorted((f for s in episode.strands for f in s.grades), key=in_time)
    latest = grades[-1] if grades else None
    end = next((s.end for s in episode.strands if s.ended_at == episode.ended_at), None)
    until = episode.ended_at if episode.ended_at is not None else known.as_of
    named = next((s for s in episode.strands if s.reports), episode.strands[0])
    outcome = end.body["outcome"] if end else None
    grade = latest.body["grade"] if latest else None
    return {
        "episode": named.episode_id, "sources": [[s.agency, s.episode_id] for s in episode.strands], "type": episode.type,
        "type_label": reference.label("missing-type", episode.type),
        "reported_at": min((f.occurred_at for f in episode.begun), default=None),
        "last_seen_at": max((bounded(f.body["last_seen_at"]) for s in episode.strands for f in s.reports), default=None),
        "started_at": episode.started_at, "ended_at": episode.ended_at,
        "outcome": outcome, "outcome_label": reference.label("missing-outcome", outcome) or None,
        "overnight": episode.overnight, "days": max(0, until - episode.started_at) // DAY_US, "grade": grade,
        "grade_label": reference.label("missing-grade", grade), "own_label": latest.body["own_label"] if latest else None,
        "found_with": sorted({c for f in ends for c in f.body["found_with"]}),
        "harm": sorted({c for f in ends for c in f.body["harm"]}),
        "contradiction": contradiction(episode),
        "interviews": [interview_shown(i, episode, reference) for i in episode.interviews],
        "rhi_clock": {
            "due_at": episode.due_at, "state": episode.clock,
            **rest_on([*(ends or episode.begun), *(f for i in episode.interviews for f in i.facts)]),
        },
        **rest_on(episode.begun), "parts": _parts(episode, grades),
    }  # fmt: skip


def _parts(episode: Episode, grades: list[Fact]) -> list[Json]:
    """Fields that rest on the end, on a grade, or on an agency that told of the episode while only others reported it."""
    first, reported = episode.strands[0], any(s.reports for s in episode.strands)
    silent = [s for s in episode.strands if reported and not s.reports]
    told = (
        (["ended_at", "outcome", "outcome_label", "overnight", "days", "found_with", "harm", "contradiction"], episode.ends),
        (["grade", "grade_label", "own_label"], grades),
        (["started_at", "overnight", "days", "contradiction"], first.facts if first in silent else []),
        (["sources"], [f for s in silent for f in s.facts]),
    )
    return [{"fields": fields, **rest_on(facts)} for fields, facts in told if facts]


def contradiction(episode: Episode) -> str | None:
    """What the tellings of an episode contradict one another in; None when nothing."""
    said = []
    if episode.ended_at is not None and episode.ended_at < episode.started_at:
        said.append("returned before last seen")
    if len({s.ended_at // HOUR_US for s in episode.strands if s.ended_at is not None}) > 1:
        said.append("different times of return are told")
    if any(len({r.body["episode_type"] for r in s.reports}) > 1 for s in episode.strands):
        said.append("told as missing and as away")
    return "; ".join(said) or None


def interview_shown(interview: Interview, episode: Episode | None, reference: Reference) -> Json:
    """An interview as the view lists it; `in_72h`, which rests on the return too, is null while that cannot be said. One that was
    not independent is not in time.
    """
    done, no = interview.completed, interview.declined
    ended_at = episode.ended_at if episode is not None else None
    completed_at = bounded(done.body["completed_at"]) if done else None
    in_time = None
    if completed_at is not None and ended_at is not None:
        in_time = interview.counts and completed_at <= ended_at + reference.interview_hours * HOUR_US
    item: Json = {
        "interview_id": interview.interview_id, "state": interview.state, "offered_at": interview.offered_at,
        "completed_at": completed_at, "independent": done.body.get("independent") if done else None,
        "declined_at": bounded(no.body["declined_at"]) if no else None,
        "reason": no.body["reason"] if no else None,
        "reason_label": reference.label("rhi-declined", no.body["reason"]) if no else None,
        "push": list(done.body["push"]) if done else [], "pull": list(done.body["pull"]) if done else [],
        "push_labels": [reference.label("push-factor", c) for c in (done.body["push"] if done else ())],
        "pull_labels": [reference.label("pull-factor", c) for c in (done.body["pull"] if done else ())],
        "child_words": done.body.get("child_words") if done else None, "in_72h": in_time, **rest_on(interview.facts),
    }  # fmt: skip
    if episode is not None and in_time is not None:
        item["parts"] = [{"fields": ["in_72h"], **rest_on(episode.ends)}]
    return item
