"""Access records (I7) and the credentials of GP practices. Functions over a connection to `keep`; the caller commits."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Final
from uuid import uuid4

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects import postgresql

from domain.times import DAY_US
from projections.accounts import NUL, AccountError
from projections.keep_tables import access_record, practice_credential

ROTATION_US: Final = 7 * DAY_US
"""After a rotation the old secret works this long, so that a practice's supplier can change over in working hours."""

CHILDREN_MAX: Final = 500
"""More children than any page shows; more in one record is a defect of ours."""

ODS: Final = re.compile(r"[A-Z0-9]{3,10}\Z")


@dataclass(frozen=True, slots=True)
class Access:
    """Who (account id or ODS code), in what role, doing what, why, was shown which children; none: a search without hits."""

    access_id: str
    at: int
    actor_id: str
    role: str
    action: str
    purpose: str
    children: tuple[str, ...]

    @property
    def hits(self) -> int:
        """How many children were shown."""
        return len(self.children)


def record_access(
    conn: Connection, *, actor_id: str, role: str, action: str, purpose: str, children: Sequence[str], now: int
) -> Access:
    """Write one access record; commit before anything is shown (I7)."""
    if len(children) > CHILDREN_MAX:
        raise AssertionError(f"an access record names at most {CHILDREN_MAX} children")
    made = Access(str(uuid4()), now, actor_id, role, action, purpose, tuple(dict.fromkeys(children)))
    conn.execute(
        insert(access_record).values(
            access_id=made.access_id, at=now, actor_id=actor_id, role=role, action=action, purpose=purpose,
            children=json.dumps(made.children),
        )
    )  # fmt: skip
    return made


def unpublished_accesses(conn: Connection, limit: int = 500) -> list[Access]:
    """Records that topic `accesses` has not acknowledged, oldest first."""
    query = select(access_record).where(access_record.c.published_at.is_(None)).order_by(access_record.c.at).limit(limit)
    return [
        Access(r.access_id, r.at, r.actor_id, r.role, r.action, r.purpose, tuple(json.loads(r.children)))
        for r in conn.execute(query)
    ]


def mark_published(conn: Connection, access_ids: Iterable[str], *, now: int) -> None:
    """Topic `accesses` has acknowledged these."""
    ids = list(access_ids)
    conn.execute(update(access_record).where(access_record.c.access_id.in_(ids)).values(published_at=now))


MERGED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Merged:
    """How many records came back into `keep` from topic `accesses`, and how many will be sent to it again as it lacks them."""

    put_back: int
    unsent: int


def merge_accesses(conn: Connection, there: Iterable[Access], *, now: int) -> Merged:
    """Make `keep` hold what topic `accesses` holds; what was sent before `now` and is not there any more waits to be sent again.

    Idempotent. A record that both have is left as it is, but for being known to be sent.
    """
    conn.execute(text("create temporary table there (access_id text primary key) on commit drop"))
    put_back, records = 0, iter(there)
    while some := {a.access_id: a for a in islice(records, MERGED_AT_ONCE)}:
        conn.execute(text("insert into there select unnest(cast(:ids as text[])) on conflict do nothing"), {"ids": list(some)})
        rows = [{**asdict(a), "children": json.dumps(a.children), "published_at": now} for a in some.values()]
        new = postgresql.insert(access_record).on_conflict_do_nothing().returning(access_record.c.access_id)
        put_back += len(conn.execute(new, rows).all())
    sent = "update access_record a set published_at = :now from there t where a.access_id = t.access_id and published_at is null"
    conn.execute(text(sent), {"now": now})
    gone = text(
        "update access_record a set published_at = null "
        "where published_at < :now and not exists (select 1 from there t where t.access_id = a.access_id)"
    )
    return Merged(put_back, conn.execute(gone, {"now": now}).rowcount)


@dataclass(frozen=True, slots=True)
class Credential:
    """What a practice signs in with; the secret is shown once, when issued."""

    client_id: str
    practice_ods: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None


def issue_credential(conn: Connection, practice_ods: str, *, now: int) -> tuple[Credential, str]:
    """A new client id and secret for a practice. The secret is 256 random bits, so a plain hash keeps it.

    Raises:
        AccountError: not an ODS code.
    """
    if not ODS.match(practice_ods):
        raise AccountError("an ODS code has 3 to 10 capital letters and digits, like N81001")
    made = Credential(f"{practice_ods.lower()}-{secrets.token_hex(4)}", practice_ods, now, None, None)
    secret = secrets.token_urlsafe(32)
    conn.execute(
        insert(practice_credential).values(
            client_id=made.client_id, practice_ods=practice_ods, secret_hash=_hash(secret), created_at=now
        )
    )
    return made, secret


def rotate_credential(conn: Connection, practice_ods: str, *, now: int) -> tuple[Credential, str]:
    """A new credential; those in use expire after `ROTATION_US`.

    Raises:
        AccountError: the practice has none to rotate.
    """
    c = practice_credential.c
    live = (c.practice_ods == practice_ods) & c.revoked_at.is_(None) & c.expires_at.is_(None)
    if conn.execute(update(practice_credential).where(live).values(expires_at=now + ROTATION_US)).rowcount == 0:
        raise AccountError("that practice has no credential to rotate; issue one")
    return issue_credential(conn, practice_ods, now=now)


def revoke_credentials(conn: Connection, practice_ods: str, *, now: int) -> int:
    """End every credential of a practice at once; how many there were."""
    c = practice_credential.c
    live = (c.practice_ods == practice_ods) & c.revoked_at.is_(None)
    return int(conn.execute(update(practice_credential).where(live).values(revoked_at=now)).rowcount)


def credentials(conn: Connection) -> list[Credential]:
    """Every credential, newest first in each practice."""
    c = practice_credential.c
    rows = conn.execute(select(practice_credential).order_by(c.practice_ods, c.created_at.desc()))
    return [Credential(r.client_id, r.practice_ods, r.created_at, r.expires_at, r.revoked_at) for r in rows]


def practice_of(conn: Connection, client_id: str, secret: str, *, now: int) -> str | None:
    """The ODS code of the practice whose live credential this is.

    No lockout: 256 bits cannot be guessed, and a lock would let a stranger cut a practice off.
    """
    theirs = select(practice_credential).where(practice_credential.c.client_id == client_id)
    row = None if NUL in client_id else conn.execute(theirs).one_or_none()
    kept = row.secret_hash if row is not None else _hash("")
    right = hmac.compare_digest(kept, _hash(secret))
    if row is None or not right or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    return str(row.practice_ods)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
