"""Alembic environment of the database `keep`."""

from infra.migrations.runner import run
from projections.keep_tables import keep_metadata

run(keep_metadata)
