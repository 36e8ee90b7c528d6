"""Errors of bringing the system up. Each message is one line that says what to do.

InfraError
├── StateError      the state folder cannot be used
├── PartsError      a part could not be fetched
│   └── ChecksumError   what was fetched is not what the lock names
├── StartError      a part did not start, or did not become ready in time
├── AccessError     the broker refused a user, or could not be reached as that user
├── ProvisionError  topics, users or rules could not be created
├── MigrationError  a database could not be created or migrated
└── MissingWorker   a worker's module is not there
"""

from __future__ import annotations

from domain.problems import SightlineError


class InfraError(SightlineError):
    """Something the person at the keyboard can mend; the message says how."""


class StateError(InfraError):
    """The state folder cannot be created, read or written."""


class PartsError(InfraError):
    """A part (jar, archive) could not be fetched or unpacked."""


class ChecksumError(PartsError):
    """A fetched part differs from the sha256 in `parts.lock.toml`."""


class StartError(InfraError):
    """A part ended while starting, or was not ready within its bound."""


class AccessError(InfraError):
    """The broker refused a user or cannot be reached."""


class ProvisionError(InfraError):
    """The broker refused a topic, a user or a rule."""


class MigrationError(InfraError):
    """A database could not be created or migrated."""


class MissingWorker(InfraError):
    """A worker is named, but its module cannot be imported."""
