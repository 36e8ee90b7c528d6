"""I3: what follows from the ledger is on its topic exactly once, and takes effect once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import orjson
import psycopg

from schemas.topics import AGENCIES
from tests.fault.evidence import CONFLICT, REFUSED, SHOWN, Ledger, Violation, same, unique, views
from tests.fault.harness import House

STATES: Final = {
    "recommended": "OPEN", "evidence_changed": "EVIDENCE_CHANGED", "recommendation_overdue": "OVERDUE",
    "meeting_overdue": "OVERDUE", "overdue_withdrawn": "OVERDUE_WITHDRAWN", "convened": "CONVENED", "declined": "DECLINED",
    "held": "HELD", "disagreed": "DISAGREED", "closed": "CLOSED", "joined": "JOINED",
    "parted": "OPEN",
}  # fmt: skip
"""The notice that follows from each conclusion about a recommendation."""

CHANGES: Final = {"gp_message": "WAITING", "gp_withdrawn": "WITHDRAWN"}
"""What a practice is told of a message that is addressed to it, by each conclusion."""

Told = tuple[int, str, str, str]
"""The entry's number, the message, the practice, the change."""


def outputs_once(house: House, ledger: Ledger, sent: Mapping[str, list[Any]]) -> list[Violation]:
    """I3: every consequence of the ledger is on its topic exactly once, under ids of its own; and each takes effect once."""
    bad = []
    values: dict[str, list[dict[str, Any]]] = {}
    for topic, records in sent.items():
        places = Counter((int(h["number"]), int(h["place"])) for r in records if (h := dict(r.headers)))
        if again := [p for p, c in places.items() if c > 1]:
            bad.append(Violation("I3", f"{topic} holds {len(again)} outputs more than once, such as {again[:SHOWN]}"))
        values[topic] = [house.codec.decode(r.value).value for r in records]
        name = (
            "notice_id" if topic in ("recommendations", "gp.messages") else "letter_id" if topic.startswith("dead") else "number"
        )
        bad += unique(topic, name, (v[name] for v in values[topic]))
    for agency in AGENCIES:
        mine = [e for e in ledger.facts if e["agency"] == agency]
        bad += same(f"outcomes.{agency}", {v["number"] for v in values[f"outcomes.{agency}"]}, {e["number"] for e in mine})
        told = {e["number"] for e in mine if e["verdict"] in (REFUSED, CONFLICT)}
        bad += same(f"dead-letters.{agency}", {v["number"] for v in values[f"dead-letters.{agency}"]}, told)
    return bad + _effects(house, values, _erased(house, ledger))


def _erased(house: House, ledger: Ledger) -> set[int]:
    """Numbers of entries that were erased, or part of them: what they concluded was told, and nobody can read it any more."""
    with psycopg.connect(house.deployment.keep_dsn) as conn:
        holders = {h for (h,) in conn.execute("select distinct holder from presentation_key where wrapped is null")}
    return {e["number"] for e in ledger.entries if any(s["holder"] in holders for s in e["sections"])}


def owed(house: House) -> list[Told]:
    """What practices are to be told, as the ledger concluded it, in order."""
    query = "select number, about, kind, data from conclusion where kind = any(%s) order by number, seq"
    rows = [(n, about, kind, orjson.loads(bytes(data))) for n, about, kind, data in house.rows(query, [[*CHANGES]])]
    return [(n, about, data["practice_ods"], CHANGES[kind]) for n, about, kind, data in rows if data["practice_ods"] is not None]


def _effects(house: House, values: Mapping[str, list[dict[str, Any]]], gone: Collection[int]) -> list[Violation]:
    """I3: a recommendation is opened once, a message told once a practice, and a practice's inbox is what was last concluded.

    `gone`: entries of which nothing is left to compare with.
    """
    notices, messages = ([v for v in values[t] if v["number"] not in gone] for t in ("recommendations", "gp.messages"))
    listed = ", ".join(f"'{kind}'" for kind in STATES)
    kept = house.rows(f"select number, about, kind from conclusion where kind in ({listed})")
    bad = same(
        "recommendations",
        {(v["number"], v["recommendation_id"], v["state"]) for v in notices},
        {(n, a, STATES[k]) for n, a, k in kept},
    )
    several = "group by about having count(distinct child_id) > 1"
    if homes := house.rows(f"select about from conclusion where kind in ({listed}) {several}"):
        bad.append(Violation("I5", f"{len(homes)} recommendations stand on several children, such as {homes[:SHOWN]}"))
    pointers = [(v["number"], v["message_id"], v["practice_ods"], v["change"]) for v in values["gp.messages"]]
    bad += unique("gp.messages", "message, practice and change", (p[1:] for p in pointers))
    due = {*owed(house), *(p for p in pointers if p[0] in gone)}
    bad += same("gp.messages", set(pointers), due)
    documents = views(house)
    held = {r["recommendation_id"] for v in documents.values() for r in v["recommendations"]}
    bad += same("recommendations", {v["recommendation_id"] for v in notices}, held)
    told = {m["message_id"] for v in documents.values() for m in v["messages"] if m["practice_ods"]}
    bad += same("gp.messages", {v["message_id"] for v in messages}, told)
    for child, v in documents.items():
        live = Counter((m["csog_event_id"], m["practice_ods"]) for m in v["messages"] if m["state"] != "WITHDRAWN")
        if any(c > 1 for c in live.values()):
            bad.append(Violation("I3", f"child {child} has several messages about one outcome at one practice"))
        bad += _one_to_decide(child, v["recommendations"])
    last = {(message, practice): change for _, message, practice, change in sorted(due)}
    inbox = {(m, p): c for m, p, c in house.rows("select message_id, practice_ods, change from gp_inbox")}
    if wrong := sorted(m for m, p in last.keys() | inbox.keys() if last.get((m, p)) != inbox.get((m, p))):
        bad.append(Violation("I3", f"{len(wrong)} messages in the practices' inbox are not as was last said: {wrong[:SHOWN]}"))
    return bad


def _one_to_decide(child: str, listed: Sequence[Mapping[str, Any]]) -> list[Violation]:
    """I3: a child has one recommendation to decide on at most; what is decided with another is decided with one of this child."""
    bad = []
    if sum(r["open"] for r in listed) > 1:
        bad.append(Violation("I3", f"child {child} has several open recommendations"))
    here = {r["recommendation_id"] for r in listed}
    for r in listed:
        into = [h["into"] for h in r["history"] if "into" in h]
        if r["state"] == "JOINED" and (not into or into[-1] not in here - {r["recommendation_id"]}):
            bad.append(Violation("I3", f"{r['recommendation_id']} of child {child} is joined with none of this child"))
    return bad
