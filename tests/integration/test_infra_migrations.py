"""Revisions and tables say the same."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from infra import migrate
from tests.services import Services


@pytest.mark.parametrize("which", ["views", "keep"])
def test_revisions_match_tables(services: Services, which: migrate.Which) -> None:
    """After every revision nothing is left to generate, going back leaves nothing, and a second `ensure` changes nothing."""
    settings = services.settings(f"m{uuid.uuid4().hex[:6]}.")
    dsn = settings.views_dsn if which == "views" else settings.keep_dsn
    head = migrate.ensure(dsn, which)
    assert head == migrate.ensure(dsn, which) == migrate.newest(which)
    assert head == ScriptDirectory.from_config(migrate.config(which, dsn)).get_current_head(), "a file's name begins with its id"
    command.check(migrate.config(which, dsn))
    command.downgrade(migrate.config(which, dsn), "base")
    with psycopg.connect(dsn) as connection:
        assert [("alembic_version",)] == connection.execute(
            "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
        ).fetchall()
    migrate.drop_database(dsn)
