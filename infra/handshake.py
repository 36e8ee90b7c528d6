"""Ask a broker, in milliseconds, whether it takes a user, in this room's errors. The handshake is `schemas.handshake`'s."""

from __future__ import annotations

from infra.errors import AccessError
from schemas import handshake
from schemas.topics import KafkaAccess


def check_access(access: KafkaAccess, *, timeout_s: float = 5.0) -> None:
    """Return when the broker takes the user.

    Raises: AccessError naming what is wrong (address, listener, user or password).
    """
    try:
        handshake.check_access(access, timeout_s=timeout_s)
    except (handshake.BrokerAway, handshake.BrokerRefuses) as error:
        raise AccessError(str(error)) from error
