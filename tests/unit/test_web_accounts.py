"""Accounts, practice credentials and access records as functions over `keep`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import Connection, select

from projections import accesses, accounts
from projections.accounts import AccountError
from projections.keep_tables import account, practice_credential, session
from tests.webworld import NOW, keep_engine

GOOD = "a long enough password"


@pytest.fixture
def conn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """An empty `keep`."""
    monkeypatch.setattr(accounts, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with keep_engine(tmp_path).connect() as connection:
        yield connection


def add(conn: Connection, name: str = "Ann@Halton.example", role: str = "icart_manager") -> accounts.Account:
    """An account."""
    return accounts.add_account(conn, name=name, display_name="Ann", role=role, password=GOOD, now=NOW)


class TestAccounts:
    """Made, found, reset, disabled."""

    def test_a_name_is_one_whatever_its_case(self, conn: Connection) -> None:
        """And taken once."""
        add(conn)
        with pytest.raises(AccountError, match="already"):
            add(conn, "ANN@halton.EXAMPLE ")
        found = accounts.find_account(conn, " ann@HALTON.example")
        assert found
        assert "icart_manager" == found.role

    @pytest.mark.parametrize(
        ("field", "value"),
        [("role", "gp_practice"), ("role", "clock"), ("password", "short"), ("password", "x" * 300), ("name", "  ")],
    )
    def test_what_is_not_accepted(self, conn: Connection, field: str, value: str) -> None:
        """A role that is no person's, a weak password, no name."""
        given = {"name": "bo", "display_name": "Bo", "role": "edt", "password": GOOD} | {field: value}
        with pytest.raises(AccountError):
            accounts.add_account(conn, **given, now=NOW)

    def test_nothing_kept_signs_anyone_in(self, conn: Connection) -> None:
        """Neither password nor token is in the tables."""
        add(conn)
        signed = accounts.sign_in(conn, "ann@halton.example", GOOD, now=NOW)
        assert signed
        kept = str([tuple(r) for t in (account, session) for r in conn.execute(select(t))])
        assert GOOD not in kept
        assert signed[1] not in kept

    def test_disabling_ends_sessions_and_reset_enables(self, conn: Connection) -> None:
        """At once, everywhere."""
        add(conn)
        signed = accounts.sign_in(conn, "ann@halton.example", GOOD, now=NOW)
        assert signed
        accounts.disable_account(conn, "ann@halton.example", now=NOW)
        assert accounts.session_account(conn, signed[1], now=NOW) is None
        assert accounts.sign_in(conn, "ann@halton.example", GOOD, now=NOW) is None
        accounts.reset_password(conn, "ann@halton.example", "another long password", now=NOW)
        assert accounts.sign_in(conn, "ann@halton.example", "another long password", now=NOW)

    def test_a_stream_does_not_keep_a_session_alive(self, conn: Connection) -> None:
        """`touch=False` leaves `seen_at`; a page moves it."""
        add(conn)
        signed = accounts.sign_in(conn, "ann@halton.example", GOOD, now=NOW)
        assert signed
        later = NOW + 20 * 60_000_000
        assert accounts.session_account(conn, signed[1], now=later, touch=False)
        assert accounts.session_account(conn, signed[1], now=later + 15 * 60_000_000) is None

    def test_wrong_passwords_are_forgotten_after_a_right_one(self, conn: Connection) -> None:
        """Four, right, four: not locked."""
        add(conn)
        for given in (*["no"] * 4, GOOD, *["no"] * 4):
            accounts.sign_in(conn, "ann@halton.example", given, now=NOW)
        assert accounts.sign_in(conn, "ann@halton.example", GOOD, now=NOW)

    def test_names_of_those_who_decided(self, conn: Connection) -> None:
        """Unknown ids are left out."""
        made = add(conn)
        assert {made.account_id: "Ann"} == accounts.names_of(conn, [made.account_id, "gone"])


class TestPractices:
    """Issued, rotated, revoked."""

    def test_rotation_overlaps(self, conn: Connection) -> None:
        """The old secret works for a week more, then not."""
        old, old_secret = accesses.issue_credential(conn, "N81001", now=NOW)
        new, new_secret = accesses.rotate_credential(conn, "N81001", now=NOW)
        for given in ((old.client_id, old_secret), (new.client_id, new_secret)):
            assert "N81001" == accesses.practice_of(conn, *given, now=NOW + 1)
        after = NOW + accesses.ROTATION_US
        assert accesses.practice_of(conn, old.client_id, old_secret, now=after) is None
        assert "N81001" == accesses.practice_of(conn, new.client_id, new_secret, now=after)

    def test_revoked_at_once(self, conn: Connection) -> None:
        """All of the practice's, nobody else's."""
        one, secret = accesses.issue_credential(conn, "N81001", now=NOW)
        other, other_secret = accesses.issue_credential(conn, "N81002", now=NOW)
        assert 1 == accesses.revoke_credentials(conn, "N81001", now=NOW)
        assert accesses.practice_of(conn, one.client_id, secret, now=NOW) is None
        assert "N81002" == accesses.practice_of(conn, other.client_id, other_secret, now=NOW)

    def test_a_wrong_secret_or_client(self, conn: Connection) -> None:
        """Nobody's."""
        one, secret = accesses.issue_credential(conn, "N81001", now=NOW)
        assert accesses.practice_of(conn, one.client_id, secret + "x", now=NOW) is None
        assert accesses.practice_of(conn, "nobody", "", now=NOW) is None
        assert secret not in str([tuple(r) for r in conn.execute(select(practice_credential))])

    def test_what_is_no_ods_code(self, conn: Connection) -> None:
        """Said in words."""
        with pytest.raises(AccountError, match="ODS"):
            accesses.issue_credential(conn, "n81 001", now=NOW)
        with pytest.raises(AccountError, match="rotate"):
            accesses.rotate_credential(conn, "N81009", now=NOW)


class TestAccesses:
    """Kept, then sent on."""

    def test_until_published_they_wait_in_order(self, conn: Connection) -> None:
        """Oldest first; marked ones no more."""
        made = [
            accesses.record_access(
                conn,
                actor_id="a",
                role="edt",
                action="GET /queue",
                purpose="FRONT_DOOR",
                children=["c2", "c1", "c2"],
                now=NOW + i,
            )
            for i in range(3)
        ]
        assert made == accesses.unpublished_accesses(conn)
        assert (("c2", "c1"), 2) == (made[0].children, made[0].hits)
        accesses.mark_published(conn, [made[0].access_id], now=NOW)
        assert made[1:] == accesses.unpublished_accesses(conn)
