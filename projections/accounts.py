"""Who may sign in: accounts with roles, sessions, lockout. Functions over a connection to `keep`; the caller commits.

A refused sign-in is counted, so commit after `sign_in` whatever it returns. Passwords are argon2id; a session's cookie is
256 random bits, of which only the hash is kept. Practices and access records: `projections/accesses.py`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, Row, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from domain.problems import SightlineError
from domain.times import DAY_US, HOUR_US, SECOND_US
from projections.keep_tables import account as account_table
from projections.keep_tables import session as session_table

PEOPLE_ROLES: Final = (
    "icart_social_worker", "icart_manager", "icart_police", "icart_health", "icart_education", "edt", "board_analyst", "admin",
)  # fmt: skip
"""Roles an account may have (code list `role`, less the practice and the clock)."""

FAILURES_MAX: Final = 5
"""Wrong passwords in a row before an account is locked."""

LOCKED_US: Final = 15 * 60 * SECOND_US
"""How long: long enough to stop guessing. Whoever goes on guessing keeps the account locked (docs/hazards.md)."""

IDLE_US: Final = 30 * 60 * SECOND_US
"""A session ends this long after its last page (shared desks in iCART)."""

ABSOLUTE_US: Final = 12 * HOUR_US
"""A session ends this long after sign-in, used or not: one shift."""

SEEN_EVERY_US: Final = 60 * SECOND_US
"""`seen_at` is written at most this often, so that reading pages does not write on every request."""

SESSIONS_KEPT_US: Final = 7 * DAY_US
PASSWORD_CHARS_MIN: Final = 12
PASSWORD_CHARS_MAX: Final = 256
NAME_CHARS_MAX: Final = 120
NUL: Final = "\0"
"""In no name and no client id: PostgreSQL's text cannot hold it, and to ask for it is an error there."""

_HASHER: Final = PasswordHasher()
_DECOY: Final = _HASHER.hash(secrets.token_urlsafe(16))
"""Verified when a name is unknown, so that the time taken does not tell who has an account."""


class AccountError(SightlineError):
    """An account cannot be made or found as asked; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who may sign in. `account_id` is what acts and access records name."""

    account_id: str
    name: str
    display_name: str
    role: str
    disabled: bool = False
    locked_until: int | None = None


def add_account(conn: Connection, *, name: str, display_name: str, role: str, password: str, now: int) -> Account:
    """Make an account.

    Raises:
        AccountError: unknown role, weak password, or the name is taken.
    """
    if role not in PEOPLE_ROLES:
        raise AccountError(f"role {role!r} is none of: {', '.join(PEOPLE_ROLES)}")
    name = _canonical(name)
    if not name or len(name) > NAME_CHARS_MAX:
        raise AccountError(f"a sign-in name has 1 to {NAME_CHARS_MAX} characters")
    made = Account(str(uuid4()), name, display_name.strip() or name, role)
    row = {
        "account_id": made.account_id, "name": name, "display_name": made.display_name, "role": role,
        "password_hash": _hash(password), "created_at": now, "failures": 0,
    }  # fmt: skip
    try:
        with conn.begin_nested():
            conn.execute(insert(account_table).values(row))
    except IntegrityError as err:
        raise AccountError("there is already an account with that name; choose another, or reset its password") from err
    return made


def accounts(conn: Connection) -> list[Account]:
    """Every account, by name."""
    return [_account(row) for row in conn.execute(select(account_table).order_by(account_table.c.name))]


def find_account(conn: Connection, name: str) -> Account | None:
    """The account with this sign-in name."""
    row = conn.execute(select(account_table).where(account_table.c.name == _canonical(name))).one_or_none()
    return None if row is None else _account(row)


def names_of(conn: Connection, account_ids: Iterable[str]) -> Mapping[str, str]:
    """Display name by account id, of those that exist."""
    ids = sorted(set(account_ids))
    query = select(account_table.c.account_id, account_table.c.display_name).where(account_table.c.account_id.in_(ids))
    return {row.account_id: row.display_name for row in conn.execute(query)} if ids else {}


def reset_password(conn: Connection, name: str, password: str, *, now: int) -> None:
    """Set a new password, unlock, and end every session of the account.

    Raises:
        AccountError: no such account, or a weak password.
    """
    found = _required(conn, name)
    values = {"password_hash": _hash(password), "failures": 0, "locked_until": None, "disabled_at": None}
    conn.execute(update(account_table).where(account_table.c.account_id == found.account_id).values(values))
    end_sessions(conn, found.account_id, now=now)


def disable_account(conn: Connection, name: str, *, now: int) -> None:
    """No more sign-ins, and every session ends. `reset_password` enables the account again.

    Raises:
        AccountError: no such account.
    """
    found = _required(conn, name)
    conn.execute(update(account_table).where(account_table.c.account_id == found.account_id).values(disabled_at=now))
    end_sessions(conn, found.account_id, now=now)


def sign_in(conn: Connection, name: str, password: str, *, now: int) -> tuple[Account, str] | None:
    """The account and a new session's cookie token; None when name, password or lock say no (and nothing says which).

    A failure is counted: commit in either case. Hashing takes long: where many may ask at once, take the three steps one by one,
    the second with no connection in hand.
    """
    return admitted(conn, name, tried(held(conn, name), password), now=now)


@dataclass(frozen=True, slots=True)
class Tried:
    """A password held against a hash. `fresh`: the hash to keep from now on, when this one's parameters are old."""

    hashed: str = field(repr=False)
    right: bool
    fresh: str | None = field(default=None, repr=False)


def held(conn: Connection, name: str) -> str:
    """The hash that a password is to fit; a decoy's when nobody has this name."""
    named = select(account_table.c.password_hash).where(account_table.c.name == _canonical(name))
    return _DECOY if NUL in name else conn.execute(named).scalar_one_or_none() or _DECOY


def tried(hashed: str, password: str) -> Tried:
    """Hold a password against a hash: tenths of a second of CPU, and 64 MiB."""
    right = _verify(hashed, password)
    return Tried(hashed, right, _HASHER.hash(password) if right and _HASHER.check_needs_rehash(hashed) else None)


def admitted(conn: Connection, name: str, one: Tried, *, now: int) -> tuple[Account, str] | None:
    """As `sign_in`, of a password that was tried. One that has been changed meanwhile was not."""
    named = select(account_table).where(account_table.c.name == _canonical(name)).with_for_update()
    row = None if NUL in name else conn.execute(named).one_or_none()
    if row is None or row.password_hash != one.hashed:
        return None
    if row.disabled_at is not None or (row.locked_until is not None and row.locked_until > now):
        return None
    mine = update(account_table).where(account_table.c.account_id == row.account_id)
    if not one.right:
        failures = row.failures + 1
        locked = failures >= FAILURES_MAX
        conn.execute(mine.values(failures=0 if locked else failures, locked_until=now + LOCKED_US if locked else None))
        return None
    fresh = {} if one.fresh is None else {"password_hash": one.fresh}
    conn.execute(mine.values(failures=0, locked_until=None, **fresh))
    return _account(row), _open_session(conn, row.account_id, now)


def session_account(conn: Connection, token: str, *, now: int, touch: bool = True) -> Account | None:
    """Whose session this is, while it lives. `touch=False` (a live stream) does not keep an idle session alive."""
    s, a = session_table, account_table
    query = (
        select(a, s.c.token_hash, s.c.seen_at)
        .join(s, s.c.account_id == a.c.account_id)
        .where(s.c.token_hash == _token_hash(token), s.c.ended_at.is_(None), a.c.disabled_at.is_(None))
        .where(s.c.created_at > now - ABSOLUTE_US, s.c.seen_at > now - IDLE_US)
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    if touch and row.seen_at < now - SEEN_EVERY_US:
        conn.execute(update(s).where(s.c.token_hash == row.token_hash).values(seen_at=now))
    return _account(row)


def end_session(conn: Connection, token: str, *, now: int) -> None:
    """Sign out."""
    conn.execute(update(session_table).where(session_table.c.token_hash == _token_hash(token)).values(ended_at=now))


def end_sessions(conn: Connection, account_id: str, *, now: int) -> None:
    """Sign an account out everywhere."""
    open_ones = (session_table.c.account_id == account_id) & session_table.c.ended_at.is_(None)
    conn.execute(update(session_table).where(open_ones).values(ended_at=now))


def _open_session(conn: Connection, account_id: str, now: int) -> str:
    s = session_table
    old = or_(s.c.created_at < now - SESSIONS_KEPT_US, s.c.ended_at < now - SESSIONS_KEPT_US)
    conn.execute(delete(s).where(old))
    token = secrets.token_urlsafe(32)
    conn.execute(insert(s).values(token_hash=_token_hash(token), account_id=account_id, created_at=now, seen_at=now))
    return token


def _required(conn: Connection, name: str) -> Account:
    found = find_account(conn, name)
    if found is None:
        raise AccountError("there is no account with that name; `sightline users list` shows them")
    return found


def _hash(password: str) -> str:
    if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
        raise AccountError(f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters")
    return _HASHER.hash(password)


def _verify(hashed: str, password: str) -> bool:
    try:
        return len(password) <= PASSWORD_CHARS_MAX and _HASHER.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _canonical(name: str) -> str:
    return name.strip().casefold()


def _token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _account(row: Row[Any]) -> Account:
    return Account(row.account_id, row.name, row.display_name, row.role, row.disabled_at is not None, row.locked_until)
