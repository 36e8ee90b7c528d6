"""Before any worker starts: is this the `keep` that the ledger was written with, and the master key that opens it?

Without it unify would make a new secret and new keys, every child would be known under other presentations, and what the ledger
holds would stay closed: worse than not starting.
"""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import create_engine, select
from sqlalchemy.pool import NullPool

from consumers.ledger import LedgerReader
from infra import migrate
from infra.errors import InfraError
from infra.settings import Settings
from projections.keep_tables import secret
from projections.keyring import KeyRing, WrongMasterKey

PRESENTATION = "presentation"
"""The secret that presentation ids in the ledger rest on; unify makes it before the first entry."""


def check_keep(settings: Settings) -> None:
    """Raises: InfraError: the ledger holds entries and `keep` lacks their secret, or the master key does not open it."""
    engine = create_engine(migrate.engine_url(settings.keep_dsn), poolclass=NullPool, hide_parameters=True)
    with engine.connect() as conn:
        there = conn.execute(select(secret.c.name).where(secret.c.name == PRESENTATION)).first() is not None
    if there:
        try:
            KeyRing(engine, settings.master_key).secret(PRESENTATION)
        except WrongMasterKey as err:
            raise InfraError(f"{err}; put the deployment's own master.key into secrets/ of the state folder") from err
        return
    with closing(LedgerReader(settings.access("relay"))) as reader:
        if reader.end()[0] > 0:
            raise InfraError("the ledger holds entries and `keep` not their secret: run `sightline keep restore FILE` first")
