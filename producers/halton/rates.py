"""How often things happen in a year in a borough of Halton's size, each with its source.

Sources: `3f` is domain.md section 3f (calibration); `assumed` has no source and waits for a practitioner's word.
Counts are for `CHILDREN`; a smaller or larger borough takes them in proportion. Shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import Final

CHILDREN: Final = 27_800
"""Children aged 0–17 (3f: 21.5 % of 128,964)."""

EARLY_HELP: Final = 320
"""Children with early help at any time (assumed)."""
CIN: Final = 710
"""In need and neither on a plan nor looked after; with the next two 1,200 (3f: 1,100–1,300, which counts all three)."""
CP: Final = 150
"""On a child protection plan (3f: 130–170)."""
LAC: Final = 340
"""Looked after (3f: 300–380)."""

NEW_A_YEAR: Final = {"EARLY_HELP": 180, "CIN": 640, "CP": 57, "LAC": 59}
"""Children who come to social care from nothing, by first status: what keeps the stocks level (derived)."""
LEAVE_A_YEAR: Final = {"EARLY_HELP": 0.80, "CIN": 1.20, "CP": 1.05, "LAC": 0.33}
"""How often a spell in a status ends, a year (derived from the stocks; a plan lasts about a year, care about three)."""
NEXT_STATUS: Final = {
    "EARLY_HELP": (("CLOSED", 0.70), ("CIN", 0.30)),
    "CIN": (("CLOSED", 0.75), ("CP", 0.12), ("LAC", 0.04), ("EARLY_HELP", 0.09)),
    "CP": (("CIN", 0.70), ("LAC", 0.12), ("CLOSED", 0.18)),
    "LAC": (("CLOSED", 0.60), ("CIN", 0.40)),
}
"""Where a spell leads (assumed)."""
PLACED_IN: Final = 0.10
"""Looked-after children whom another authority placed here (assumed)."""

REFERRED_BY_POLICE: Final = 0.28
REFERRED_BY_SCHOOL: Final = 0.21
"""Who referred (3f)."""

MISSING_CHILDREN: Final = 180
MISSING_MEAN_REST: Final = 2.46
MISSING_TAIL: Final = 0.05
MISSING_TAIL_FLOOR: Final = 8
MISSING_TAIL_MEAN: Final = 12.0
"""180 children and 600 incidents a year; the most frequent 5 % of children have about 30 % (3f): 9 × 20 + 171 × 2.46."""
MISSING_FROM: Final = {"LAC": 0.34, "CP": 0.06, "CIN": 0.20, "EARLY_HELP": 0.05}
"""Share of missing children by status; the rest are not known to social care (3f: care alone gave 45 of 140–180)."""
REPEAT_IN_4_WEEKS: Final = 0.50
"""First repeats within 28 days (3f)."""
MISSING_HOURS_MEDIAN: Final = 9.0
MISSING_HOURS_SIGMA: Final = 1.25
"""Log-normal length: nine in ten within two days (3f: 90 % ≤ 2 days)."""
AWAY_TYPE_A: Final = 0.12
"""Of looked-after children's absences, away without authorisation, told by social care (assumed)."""
GRADES: Final = (("VERY_LOW", 0.05), ("LOW", 0.25), ("MEDIUM", 0.60), ("HIGH", 0.10))
REGRADED: Final = 0.15
"""Police grades and how often a supervisor changes one (assumed)."""
FOUND_WITH_EXPLOITER: Final = 0.015
FOUND_WITH_WEAPON: Final = 0.005

RHI_OFFERED: Final = 0.85
RHI_ACCEPTED: Final = 0.65
RHI_IN_72H: Final = 0.52
"""Offered 85 %, of these accepted 60–70 %, of these held within 72 hours of return 45–60 % (3f, the "before" run)."""
RHI_KNOWS_EPISODE: Final = 0.90
RHI_IN_CONFIDENCE: Final = 0.08
"""The provider has the police's reference; the child spoke in confidence (assumed)."""

CPIS_ALERTS: Final = 150
"""Attendances of children on a plan or looked after (3f: 100–200)."""
VPAS_OPEN: Final = 0.30
VPAS_CONTACTS: Final = 420
"""Submissions a year for a child open to social care; submissions about others that lead no further (assumed)."""
VPAS_NO_VOICE: Final = 0.30
"""Submissions without the child's voice (assumed; R18 finds it missing)."""
CONCERN_OPEN: Final = 0.50
CONCERN_CONTACTS: Final = 220
"""School concerns, likewise (assumed)."""
PERSISTENT_ABSENCE: Final = 0.22
"""Open pupils missing a tenth of sessions or more (assumed; persistent absence is ≥ 10 %)."""
NO_PROVISION: Final = 0.07
"""Open pupils without full-time provision in a year (assumed; R13)."""
EXPLOITED_TEENS: Final = 0.11
"""Open children of 12 and over who are graded for exploitation (assumed)."""
CSOG_A_MONTH: Final = 4
"""Outcomes a month (assumed)."""
YJS_CHILDREN: Final = 60
PROBATION_CHILDREN: Final = 8
"""Caseloads in a year (assumed)."""
GP_CHANGE: Final = 0.05
WORKER_CHANGE: Final = 0.20
MOVES: Final = 0.12
"""A year, of children open to social care (assumed)."""

POLICE_TYPO: Final = 0.10
POLICE_NICKNAME: Final = 0.06
POLICE_WRONG_DOB: Final = 0.04
POLICE_NO_DOB: Final = 0.02
POLICE_OLD_ADDRESS: Final = 0.55
POLICE_SECOND_ID: Final = 0.07
POLICE_MENDED: Final = 0.15
"""Faults of police records: names as heard, addresses of earlier years, two records for a child; some mended (assumed)."""
CSC_NHS_NUMBER: Final = 0.92
CSC_NHS_TRACED: Final = 0.94
CSC_NHS_BAD_CHECK: Final = 0.006
CSC_UPN: Final = 0.75
EDUCATION_UPN: Final = 0.97
OTHER_TYPO: Final = 0.02
RHI_KNOWS_LA_ID: Final = 0.50
"""Who knows which number (assumed); the provider has the authority's id of half of the looked-after children it sees."""

SENT_LATE: Final = 0.03
SENT_TWICE: Final = 0.01
CORRECTED: Final = 0.012
CORRECTION_FIRST: Final = 0.10
RETRACTED: Final = 0.004
WRONG_CHILD: Final = 0.4
"""Shares of facts that come days late, come twice, are corrected (a tenth of corrections arrive before what they correct) or
withdrawn; of those withdrawn, filed on another child's record (assumed)."""
