"""What the agencies tell a living deployment for the tests of its pages, and which words in it each role must not be sent.

Every fact with a label carries a canary: a word that is in that fact and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final

from domain.sharing import REGIMES, ROLES, SCOPES, SEE, SENSITIVITIES, Reader, decide
from domain.times import DAY_US, HOUR_US, local_date_of
from producers.halton import scenarios
from producers.halton.facts import SimulatedFact
from producers.halton.numbers import nhs_number
from tests.living import Living, fact, now_us

LABELS: Final = (
    ("LED", "ORDINARY", "PARTNERSHIP"), ("UKGDPR", "ORDINARY", "STATUTORY"), ("UKGDPR", "ORDINARY", "OWNER"),
    ("UKGDPR", "ORDINARY", "CONFIDENCE"), ("UKGDPR", "RESTRICTED", "PARTNERSHIP"), ("UKGDPR", "SEALED", "PARTNERSHIP"),
)  # fmt: skip
"""One cell for each reason to withhold; `TABLE` has them all."""

TABLE: Final = tuple(product(("police", "csc", "health", "education"), REGIMES, SENSITIVITIES, SCOPES))
NHS: Final = [n for n in map(nhs_number, range(100, 120)) if n]
GIVEN, FAMILY, BORN = "Zebedee", "Quillfeather", "2011-02-17"
"""The child whose facts carry every label; a name that nothing else holds."""

SEALED_NAME: Final = "Xanthippe"
HIDDEN_ADDRESS: Final = "4 CANARY-hidden-address Row"
SEALED_ADDRESS: Final = "5 CANARY-sealed-address Row"
"""Of a third record that may be the same child, beside the one that a match asks about."""


def everyone(agency: str, number: int = 0, **more: str) -> dict[str, Any]:
    """The child of every label as an agency has it: a traced number, so that all of them are one child by rule."""
    return {
        "local_id": f"{agency}-{number or 1}", "given_name": GIVEN, "family_name": FAMILY, "birth_date": BORN,
        "nhs_number": NHS[number], "nhs_number_status": "01", **more,
    }  # fmt: skip


TEXTS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    # record: (agency, the field that holds the canary, the rest of the body)
    "VulnerabilitySubmission": ("police", "narrative", {
        "concerns": ["BAD_HOUSING"], "exploitation": [], "seen": "YES", "seen_alone": "YES", "spoken_to": "YES",
        "what_child_said": "Leave it.",
    }),
    "MissingEpisodeReported": ("police", "circumstances", {"episode_type": "M"}),
    "MissingEpisodeGraded": ("police", "rationale", {"grade": "LOW", "own_label": "Low"}),
    "SchoolConcern": ("education", "child_words", {"concerns": ["CHANGE_IN_BEHAVIOUR"], "exploitation": []}),
    "ReturnHomeInterviewCompleted": ("rhi", "child_words", {
        "independent": True, "alone": True, "push": [], "pull": [], "harm": [], "with_whom": [],
    }),
    "WorkerAllocated": ("yjs", "worker_name", {"worker_role": "SOCIAL_WORKER"}),
    "InvolvementRecorded": ("probation", "contact", {"service": "CAMHS"}),
    "CpisStatusChanged": ("health", "la_name", {"plan_type": "CPPI", "la_code": "876"}),
}  # fmt: skip


@dataclass
class Story:
    """Facts, and by canary the roles that must not be sent it."""

    facts: list[SimulatedFact] = field(default_factory=list)
    withheld: dict[str, frozenset[str]] = field(default_factory=dict)

    def add(self, canary: str, told: SimulatedFact) -> None:
        """A fact and the canary in it."""
        envelope = told.value["envelope"]
        self.facts.append(told)
        self.withheld[canary] = frozenset(r for r in ROLES if decide(Reader(r), envelope | {"agency": told.agency}) is not SEE)


def every_label() -> Story:
    """One child: each cell of the table once, and each record that holds words under each reason to withhold."""
    story = Story()
    for n, (agency, regime, sensitivity, scope) in enumerate(TABLE):
        canary = f"CANARY-{agency}-{regime}-{sensitivity}-{scope}".lower()
        body = {"grade": "LOW", "scale": "EXPLOITATION", "rationale": f"{canary} because."}
        label = {"regime": regime, "sensitivity": sensitivity, "scope": scope}
        story.add(canary, fact("RiskGraded", agency, everyone(agency), body, ago_us=(9 + n) * HOUR_US, **label))
    for (record, (agency, name, rest)), (regime, sensitivity, scope) in product(TEXTS.items(), LABELS):
        n = len(story.facts)
        canary = f"CANARY-{record}-{n}".lower()
        ago = (9 + n) * HOUR_US
        body = {name: f"{canary} said", **rest, **_dates(record, n, ago)}
        label = {"regime": regime, "sensitivity": sensitivity, "scope": scope}
        story.add(canary, fact(record, agency, everyone(agency), body, ago_us=ago, **label))
    return story


def _dates(record: str, n: int, ago_us: int) -> dict[str, Any]:
    """What a record needs beside words: ids and dates of its own."""
    at = now_us() - ago_us
    day = local_date_of(at)
    found: dict[str, dict[str, Any]] = {
        "VulnerabilitySubmission": {"submission_id": f"V-{n}"},
        "MissingEpisodeReported": {"episode_id": f"E-{n}", "last_seen_at": at - HOUR_US},
        "MissingEpisodeGraded": {"episode_id": f"E-{n}"},
        "SchoolConcern": {"concern_id": f"C-{n}"},
        "ReturnHomeInterviewCompleted": {"interview_id": f"I-{n}", "completed_at": at},
        "WorkerAllocated": {"from_date": day},
        "InvolvementRecorded": {"from_date": day},
        "CpisStatusChanged": {"start_date": day},
    }
    return found[record]


def sealed() -> list[SimulatedFact]:
    """A child of whom everything is sealed: only a manager knows that there is one."""
    subject = everyone(
        "csc", 1, local_id="csc-sealed", given_name=SEALED_NAME, family_name="Sealed-Canary", birth_date="2012-12-12"
    )
    body = {"status": "LAC", "from_date": "2026-01-05"}
    return [fact("SocialCareStatus", "csc", subject, body, sensitivity="SEALED")]


def harm() -> list[SimulatedFact]:
    """A harm trigger that rests on a grade of the police's own: others read that something is withheld."""
    who = {"given_name": "Harm", "family_name": "Triggered", "birth_date": "2010-03-04"}
    csc, police = everyone("csc", 2, **who), everyone("police", 2, **who)
    began = now_us() - 5 * HOUR_US
    body = {"episode_id": "E-harm", "episode_type": "M", "last_seen_at": began}
    return [
        fact("SocialCareStatus", "csc", csc, {"status": "CP", "from_date": "2026-01-05"}, ago_us=200 * DAY_US),
        fact("MissingEpisodeReported", "police", police, body, ago_us=5 * HOUR_US),
        fact("MissingEpisodeGraded", "police", police, {"episode_id": "E-harm", "grade": "HIGH", "own_label": "High"},
             ago_us=4 * HOUR_US, scope="OWNER"),
    ]  # fmt: skip


def namesakes() -> list[SimulatedFact]:
    """Three records that may be a child of social care: of a school for all, of police for few, of health for the manager alone.

    So a page that asks about the school's must not tell of the other two.
    """
    who = {"given_name": "Perhaps", "family_name": "Thesame", "birth_date": "2013-05-06"}
    csc, police = {"local_id": "csc-3", **who}, {"local_id": "police-3", **who, "address_line": HIDDEN_ADDRESS}
    health = {"local_id": "health-3", **who, "address_line": SEALED_ADDRESS}
    school = {"local_id": "education-3", **who}
    body = {
        "submission_id": "V-same", "concerns": ["BAD_HOUSING"], "exploitation": [], "seen": "YES", "seen_alone": "YES",
        "spoken_to": "YES", "what_child_said": "Nothing.",
    }  # fmt: skip
    return [
        fact("SocialCareStatus", "csc", csc, {"status": "CIN", "from_date": "2026-01-05"}),
        fact("VulnerabilitySubmission", "police", police, body, scope="OWNER"),
        fact("InvolvementRecorded", "health", health, {"service": "CAMHS", "from_date": "2026-01-05"}, sensitivity="SEALED"),
        fact("SchoolConcern", "education", school, {"concern_id": "C-same", "concerns": ["WEIGHT_LOSS"], "exploitation": []}),
    ]


def poison() -> SimulatedFact:
    """To be spoiled: its letter must hold nothing of it."""
    subject = {"local_id": "poison-1", "given_name": "Poison", "family_name": "CANARY-letter", "birth_date": "2012-05-06"}
    return fact(
        "SchoolConcern", "education", subject, {"concern_id": "1", "concerns": ["WEIGHT_LOSS"], "narrative": "CANARY-letter"}
    )


@dataclass
class World:
    """A living deployment to which all of the above was told, and the ids of what came of it."""

    living: Living
    story: Story
    every: str
    sealed: str
    harmed: str
    gp: str
    practices: tuple[str, str]
    """(the child's practice before, and now)."""

    def ids(self) -> dict[str, tuple[str, ...]]:
        """Ids of everything there is, by the name of a route's parameter."""
        ask = self.living.ids
        return {
            "child_id": ask("select child_id from child order by child_id"),
            "recommendation_id": ask("select distinct about from conclusion where kind = 'recommended' order by about"),
            "match_id": ask("select match_id from possible_match order by match_id"),
            "message_id": ask("select distinct about from conclusion where kind = 'gp_message' order by about"),
            "letter_id": tuple(x["letter_id"] for x in self.living.person("admin").json("/api/dead-letters")["items"]),
            "event_id": ask("select event_id from act order by number limit 1") or ("11111111-1111-4111-8111-111111111111",),
            "digest": ("x",), "name": ("icon.svg",),
        }  # fmt: skip

    def withheld_from(self, role: str) -> Iterator[str]:
        """Canaries that must not reach a role; a role without a seat gets none at all."""
        return (c for c, roles in self.story.withheld.items() if role not in ROLES or role in roles)


def told(living: Living) -> World:
    """Tell everything, and wait until it is decided."""
    story = every_label()
    gp = scenarios.gp_change(3, now_us() - DAY_US)
    groups = {"harm": harm(), "sealed": sealed(), "same": namesakes()}
    letter = poison()
    living.house.publish([*story.facts, *(f for g in groups.values() for f in g), *gp.facts])
    living.house.spoil(letter, "unknown-code")
    living.publish([])
    outcomes = [f for f in gp.facts if f.record == "CsogOutcome"]
    before, after = (str(f.practice) for f in outcomes)
    first = {name: living.child_of(facts[0]) for name, facts in groups.items()}
    return World(
        living, story, living.child_of(story.facts[0]), first["sealed"], first["harm"], living.child_of(outcomes[0]),
        (before, after),
    )  # fmt: skip
