"""Revisions of the two databases, hand-checked after Alembic's autogenerate."""
