"""A child view in words, for `sightline explain CHILD`. Give it a redacted view: it shows whatever it is given."""

from __future__ import annotations

from typing import Any

from domain.chronology import moment
from domain.model import Json

EMERGENCY = "If a child is in immediate danger call 999: not this system."


def explain(view: Json) -> list[str]:
    """Lines of text: what is known, what risk was found and why, what was recommended and decided, how current it all is."""
    if view.get("withheld"):
        return [f"Information withheld; contact {view['contact']}."]
    return [*_head(view), "", *_risk(view), "", *_recommendations(view), "", *_currency(view), "", EMERGENCY]


def _head(view: Json) -> list[str]:
    name = " ".join(filter(None, (view["name"].get("given"), view["name"].get("family")))) or "name not known"
    status = _label(view["status"], "none received" if view["evaluated_at"] else "not worked out")
    told = f"{view['child_id']}: {name}, born {view['birth_date'] or 'not known'}; status with social care: {status}"
    when = f"As of {moment(view['as_of'])}" + (f", as known at {moment(view['known_at'])}" if view["known_at"] else "")
    out = [told, f"{when}; entry {view['version']}; policy {view['policy']['id']} ({view['policy'].get('authority', '')})"]
    if view["merged_into"]:
        out.append(f"Everything here has moved to child {view['merged_into']}.")
    if view["possible_matches"]:
        out.append(f"May also be: {len(view['possible_matches'])} possible match(es) not yet decided.")
    return out


def _label(item: Any, none: str) -> str:
    if item is None:
        return none
    return _withheld(item) or str(item["label"])


def _withheld(item: Json) -> str:
    return f"Information withheld; contact {item['contact']}" if item.get("withheld") and "contact" in item else ""


def _risk(view: Json) -> list[str]:
    risk = view["risk"]
    if risk is None:
        return ["RISK NOT EVALUATED: our own rules failed on this child. Read the facts: nothing says that there is no risk."]
    harm = "yes" if risk["harm"] else "none received"
    out = [f"Risk: {risk['points']} points (threshold {risk['threshold']}); harm trigger: {harm}"]
    if view["not_evaluated"]:
        out.append(f"RISK NOT EVALUATED for {len(view['not_evaluated'])} fact(s): our own rules failed.")
    for r in risk["reasons"]:
        evidence = f" [{', '.join(r['facts'])}]" if r["facts"] else ""
        out.append(f"  - {r['rule']}: {r['text']}{evidence}")
    if not risk["reasons"]:
        out.append("  - no rule holds on what was received; that is not the same as no risk")
    out += [f"  ? {u['text']}" for u in risk["unknown"]]
    out += [f"  + {p['text']} (shown, never subtracted)" for p in risk["protective"]]
    if not risk["harm"] and risk["points"] < risk["threshold"]:
        short = risk["threshold"] - risk["points"]
        out.append(f"  = any harm trigger, or {short} more points, would recommend a strategy discussion")
    return out


def _recommendations(view: Json) -> list[str]:
    out = [f"Recommendations: {len(view['recommendations'])}"]
    for rec in view["recommendations"]:
        dates = f"since {moment(rec['raised_at'])}, due {moment(rec['due_at'])}"
        out.append(f"  {rec['state']} on {rec['basis']} {dates} (version {rec['version']})")
        out += [f"    - {r['text']}" for r in rec["reasons"]]
        for step in rec["history"]:
            by = f" by {step['by_role_label']}" if step["by_role"] else _to(step)
            text = f": {step['text']}" if step["text"] else ""
            out.append(f"    {moment(step['at'])} {step['label']}{by}{text}")
    return out


def _to(step: Json) -> str:
    to = [t["role_label"] + (" (not the one who is late)" if t["other_than"] else "") for t in step.get("passed_to", ())]
    return f": to {', '.join(to)}" if to else ""


def _currency(view: Json) -> list[str]:
    out = ["How current each agency is:"]
    for c in view["currency"]:
        last = f"last received {moment(c['last_received'])} ({c['facts']} facts)" if c["last_received"] else "none received"
        out.append(f"  {c['label']}: {last}")
    return out
