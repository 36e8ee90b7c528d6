"""Alembic environment of the database `views`."""

from infra.migrations.runner import run
from projections.tables import views_metadata

run(views_metadata)
