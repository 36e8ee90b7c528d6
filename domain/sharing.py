"""Who may see what: one pure decision, and one redaction that uses nothing else. Default deny (design, idea 8; domain.md §4).

`decide` is a table over role × regime × sensitivity × scope × owning agency, written out in `docs/sharing.md`. `redact`
applies it to a child view on its way out: page, API, event stream, search, explanation. A withheld fact still counts for
risk; what rests on it reads "Information withheld; contact …".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import Any, Final

from domain.identity_view import header
from domain.model import Json

Label = Mapping[str, Any]


class Verdict(IntEnum):
    """How much a reader sees; of several, the least counts."""

    HIDDEN = 0
    WITHHELD = 1
    SEE = 2


HIDDEN, WITHHELD, SEE = Verdict.HIDDEN, Verdict.WITHHELD, Verdict.SEE


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks: a role, the agency they sit for (None: the role's own), and their account (opaque)."""

    role: str
    agency: str | None = None
    account_id: str | None = None


ROLES: Final[Mapping[str, str]] = {
    "icart_social_worker": "csc",
    "icart_manager": "csc",
    "icart_police": "police",
    "icart_health": "health",
    "icart_education": "education",
    "edt": "csc",
}
"""Roles that see children, and the agency each sits for. Any other role (board analyst, admin, clock, practice) sees none."""

PRACTICE: Final = "gp_practice"
"""A GP practice has no seat and sees nothing of a view; of its own message it may be told what `decide` says of the outcome."""

READERS: Final = (*ROLES, PRACTICE)

SOCIAL_CARE: Final = frozenset({"icart_social_worker", "icart_manager", "edt"})
STATUTORY: Final = SOCIAL_CARE | {"icart_police", "icart_health"}
ASSESSING: Final = frozenset({"icart_social_worker", "icart_manager"})
ENQUIRING: Final = SOCIAL_CARE | {"icart_police"}
"""A section 47 enquiry is a joint duty of authority and police: those who hold it may see law-enforcement material."""

REGIMES: Final = ("UKGDPR", "LED")
SENSITIVITIES: Final = ("ORDINARY", "SPECIAL", "RESTRICTED", "SEALED")
SCOPES: Final = ("PARTNERSHIP", "STATUTORY", "OWNER", "CONFIDENCE")

TOLD_TO_GP: Final = ("ORDINARY", "SPECIAL")

CONTACTS: Final[Mapping[str, str]] = {
    "police": "Police in iCART",
    "health": "Health in iCART",
    "education": "Education in iCART",
}
"""Whom to ask for what is withheld, by owning agency; for every other agency the iCART manager."""

MANAGER: Final = "the iCART manager"

SEALED: Final[Label] = {"agency": None, "regime": "UKGDPR", "sensitivity": "SEALED", "scope": "PARTNERSHIP"}
"""By which it is decided who is shown the view as it is without sealed facts."""


def decide(reader: Reader, label: Label) -> Verdict:
    """SEE, WITHHELD (something is there, ask) or HIDDEN (nothing is shown), for one reader and one label."""
    role = reader.role
    if role not in READERS:
        return HIDDEN
    if label["sensitivity"] == "SEALED":
        return SEE if role == "icart_manager" else HIDDEN
    if role == PRACTICE:
        told = (
            label["regime"] == "UKGDPR" and label["sensitivity"] in TOLD_TO_GP and label["scope"] in ("PARTNERSHIP", "STATUTORY")
        )
        return SEE if told else WITHHELD
    owner = ROLES[role] == label["agency"] and reader.agency in (None, ROLES[role], "edt" if role == "edt" else None)
    fits = _scope(role, label["scope"], owner) and _sensitivity(role, label["sensitivity"], owner)
    return SEE if fits and _regime(role, label["regime"], owner) else WITHHELD


def _scope(role: str, scope: str, owner: bool) -> bool:
    match scope:
        case "PARTNERSHIP":
            return True
        case "STATUTORY":
            return owner or role in STATUTORY
        case "OWNER":
            return owner or role == "icart_manager"
        case "CONFIDENCE":
            return role in SOCIAL_CARE
    return False


def _sensitivity(role: str, sensitivity: str, owner: bool) -> bool:
    if sensitivity == "RESTRICTED":
        return owner or role in ASSESSING
    return sensitivity in ("ORDINARY", "SPECIAL")


def _regime(role: str, regime: str, owner: bool) -> bool:
    return regime == "UKGDPR" or (regime == "LED" and (owner or role in ENQUIRING))


def contact(agency: str | None) -> str:
    """Whom to ask for what is withheld."""
    return CONTACTS.get(agency or "", MANAGER)


def verdict(reader: Reader, item: Mapping[str, Any]) -> Verdict:
    """What the reader sees of an item: the least over `sharing` and `sharing_all`, the most over `sharing_any`."""
    if "sharing_any" in item:
        return max((decide(reader, label) for label in item["sharing_any"]), default=HIDDEN)
    found = decide(reader, item["sharing"])
    for label in item.get("sharing_all", ()):
        found = min(found, decide(reader, label))
    return found


def redact(view: Json, reader: Reader) -> Json:
    """The view as `reader` may see it; `view` itself is not changed. A reader who sees no children gets no content at all."""
    if reader.role not in ROLES:
        return {"withheld": True, "agency": None, "contact": MANAGER}
    view = _open_to(reader, view)
    out: Json = {key: _kept(reader, value) for key, value in view.items()}
    if "not_evaluated" in view:
        shown = {c.get("event_id") for c in out["chronology"]}
        out["not_evaluated"] = [i if i in shown else "withheld" for i in view["not_evaluated"]]
    if "identity" in view:
        seen = [i for i in view["identity"] if verdict(reader, i) is SEE]
        out |= header(seen)
    if isinstance(risk := view.get("risk"), dict):
        out["risk"] = _risk(reader, risk)
    for before, after in zip(view.get("recommendations", ()), out.get("recommendations", ()), strict=True):
        after["reasons"] = [_reason(reader, r) for r in before["reasons"]]
    return out


def records_beside(view: Json) -> list[str]:
    """Presentations that a redacted view shows as perhaps, or perhaps not, the same child: whoever reads it looks at them too.

    Of what was known earlier also those that were this child's then: they may be another's today.
    """
    own = ("identity",) if view.get("known_at") is not None else ()
    listed = (m for key in (*own, "possible_matches", "rejected_matches", "undone_matches") for m in view.get(key) or ())
    return sorted({m["presentation_id"] for m in listed if m.get("presentation_id")})


def stub(agency: str | None) -> Json:
    """What stands where something is withheld."""
    return {"withheld": True, "agency": agency, "contact": contact(agency)}


def _open_to(reader: Reader, view: Json) -> Json:
    """The view with the sections that this reader may know of: from whom sealed facts are hidden, those without them."""
    openly: Json | None = view.get("openly")
    if openly is None:
        return view
    whole = {key: value for key, value in view.items() if key != "openly"}
    if decide(reader, SEALED) is not HIDDEN:
        return whole
    return whole | openly | {"risk": whole["risk"] | openly["risk"]}


def _kept(reader: Reader, value: Any) -> Any:
    """A value as the reader may see it; null where it is hidden."""
    kept = _value(reader, value)
    return None if kept is _DROPPED else kept


def _value(reader: Reader, value: Any) -> Any:
    if isinstance(value, dict):
        return _item(reader, value)
    if isinstance(value, list):
        kept = (_value(reader, v) for v in value)
        return [v for v in kept if v is not _DROPPED]
    return value


_DROPPED: Final = object()


def _item(reader: Reader, item: Json) -> Any:
    if "sharing" in item:
        seen = verdict(reader, item)
        if seen is HIDDEN:
            return _DROPPED
        if "sharing_any" in item:
            told = [label for label in item["sharing_any"] if decide(reader, label) is not HIDDEN]
            item = item | {"sharing": told[0], "sharing_any": told}
        if seen is WITHHELD:
            return stub(item["sharing"]["agency"])
    out: Json = {}
    for key, value in item.items():
        out[key] = _kept(reader, value)
    for part in item.get("parts", ()):
        seen = verdict(reader, part)
        if seen is not SEE:
            out |= dict.fromkeys(part["fields"])
        if seen is WITHHELD:
            out["withheld_fields"] = sorted({*out.get("withheld_fields", ()), *part["fields"]})
    return out


def _risk(reader: Reader, risk: Json) -> Json:
    out = dict(risk)
    out["reasons"] = [_reason(reader, r) for r in risk["reasons"]]
    for key in ("unknown", "protective"):
        out[key] = [t for t in risk[key] if not t["facts"] or verdict(reader, t) is SEE]
    return out


def _reason(reader: Reader, reason: Json) -> Json:
    """A reason resting on anything withheld keeps its points and says only that, and whom to ask."""
    if verdict(reader, reason) is SEE:
        return reason
    labels = [reason["sharing"], *reason.get("sharing_all", ())]
    withheld = sorted({str(x["agency"]) for x in labels if decide(reader, x) is WITHHELD and x["agency"]})
    asked = " or ".join(sorted({contact(a) for a in withheld})) or MANAGER
    return {
        "rule": "withheld", "text": f"Information withheld; contact {asked}", "points": reason["points"],
        "trigger": reason["trigger"], "facts": [], "agencies": withheld, "withheld": True,
    }  # fmt: skip


AGENCIES: Final = ("police", "csc", "health", "education", "yjs", "probation", "rhi")


def table() -> list[tuple[str, str, str, str, str, Verdict]]:
    """Every cell: (role, regime, sensitivity, scope, owning agency, verdict) for roles that see anything."""
    cells = product(READERS, REGIMES, SENSITIVITIES, SCOPES, AGENCIES)
    return [
        (r, g, s, c, a, decide(Reader(r), {"agency": a, "regime": g, "sensitivity": s, "scope": c})) for r, g, s, c, a in cells
    ]


def table_text() -> str:
    """The table for docs/sharing.md: what a seat sees of its own agency's (own) and of others' facts."""
    marks = {SEE: "sees", WITHHELD: "withheld", HIDDEN: "hidden"}
    heads = ["sensitivity", "regime", "scope", *READERS]
    rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for sensitivity, regime, scope in product(SENSITIVITIES, REGIMES, SCOPES):
        cells = []
        for role in READERS:
            home = ROLES.get(role, AGENCIES[0])
            owners = (home, next(a for a in AGENCIES if a != home))
            own, other = (
                decide(Reader(role), {"agency": a, "regime": regime, "sensitivity": sensitivity, "scope": scope}) for a in owners
            )
            cells.append(marks[other] if own is other else f"own: {marks[own]}; else {marks[other]}")
        rows.append("| " + " | ".join([sensitivity, regime, scope, *cells]) + " |")
    return "\n".join(rows) + "\n"
