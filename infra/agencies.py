"""The credentials of agency systems: one Kafka user an agency, one password at a time, known to the agency alone once issued."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from kafka.errors import KafkaError

from infra.errors import AccessError, ProvisionError
from infra.handshake import check_access
from infra.provision import IN_FORCE_S, admin_client, issue_users
from infra.settings import Settings
from schemas.handshake import MECHANISM
from schemas.topics import KafkaAccess


@dataclass(frozen=True, slots=True)
class Outside:
    """All that an agency's own system needs to connect. `key_secret` makes the keys of its facts and stays for good."""

    agency: str
    access: KafkaAccess = field(repr=False)
    registry: str
    key_secret: str = field(repr=False)

    def lines(self) -> list[tuple[str, str]]:
        """(what, value), in the order in which it is set up."""
        mine = self.access.topic
        found = [
            ("bootstrap", self.access.bootstrap), ("protocol", self.access.security_protocol), ("mechanism", MECHANISM.decode()),
            ("user", self.access.prefix + self.access.user), ("password", self.access.password),
            ("registry", self.registry), ("prefix", self.access.prefix), ("key secret", self.key_secret),
            ("writes", mine(f"facts.{self.agency}")),
            ("reads", f"{mine(f'outcomes.{self.agency}')}, {mine(f'dead-letters.{self.agency}')}"),
        ]  # fmt: skip
        return [*found, ("CA file", self.access.ssl_cafile)] if self.access.ssl_cafile else found


def issue(settings: Settings, agency: str) -> Outside:
    """A new password for the agency's user, in force at once; the one before ends at that system's next login.

    Raises: ProvisionError, AccessError.
    """
    user = f"agency.{agency}"
    password = secrets.token_urlsafe(32)
    # kept first: what a start says to the broker later is then the same, wherever this stops
    settings.state.replace_secret(f"kafka/{settings.prefix}{user}", password)
    try:
        with admin_client(settings.admin()) as client:
            issue_users(client, {settings.prefix + user: password})
    except KafkaError as error:
        raise ProvisionError(f"the broker did not take the new password ({type(error).__name__}); say it again") from error
    access = settings.access(user)
    _await_password(access)
    return Outside(agency, access, settings.registry_url, settings.secret(f"{user}.key"))


def _await_password(access: KafkaAccess) -> None:
    """Wait until a broker takes it: the controller answers before the brokers have it."""
    until = time.monotonic() + IN_FORCE_S
    while True:
        try:
            return check_access(access)
        except AccessError as error:
            if time.monotonic() > until:
                raise ProvisionError(
                    f"the new password was set, but is not in force after {IN_FORCE_S:.0f} s ({error}); say it again"
                ) from error
        time.sleep(0.02)
