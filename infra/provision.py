"""Create what a deployment needs on a broker: topics, SCRAM users, rules. Saying it twice changes nothing.

Rules are the least that `schemas.topics` names: writers may Write, readers may Read (both imply Describe; Write also
allows an idempotent producer), each user may use consumer groups whose names begin with its own, and nothing else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, TopicAlreadyExistsError

from infra.errors import ProvisionError
from infra.handshake import check_access
from infra.kafka import MESSAGE_BYTES_MAX
from schemas.topics import FOR_EVER, KafkaAccess, Topic

FACT_BYTES_MAX: Final = 256 * 1024 + 32 * 1024
"""A fact is at most 256 KiB; the rest is room for CloudEvents headers and the batch's own frame."""

INTAKE: Final = ("facts.", "decisions", "receipts", "clock")
RULES_A_REQUEST: Final = 500
REQUEST_TIMEOUT_MS: Final = 15_000
IN_FORCE_S: Final = 10.0


@contextmanager
def admin_client(admin: KafkaAccess) -> Iterator[KafkaAdminClient]:
    """An admin client of the super user. Raises: AccessError at once when the broker is away or refuses it."""
    check_access(admin)
    client = KafkaAdminClient(**admin.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        yield client
    finally:
        client.close()


def provision(
    admin: KafkaAccess, prefix: str, topics: Sequence[Topic], passwords: Mapping[str, str], *, replication: int = 1
) -> None:
    """Make `topics` and the users of `passwords` (both without the prefix) exist with exactly their rules.

    Raises: ProvisionError, AccessError.
    """
    try:
        with admin_client(admin) as client:
            issue_users(client, {prefix + user: password for user, password in passwords.items()})
            _create_topics(client, prefix, topics, replication)
            _reconcile_rules(client, rules(prefix, topics, passwords), {f"User:{prefix}{user}" for user in passwords})
    except KafkaError as error:
        raise ProvisionError(f"the broker refused: {type(error).__name__}: {error}; is `admin` its super user?") from error


def issue_users(client: KafkaAdminClient, passwords: Mapping[str, str]) -> None:
    """Create users, or give existing ones a new password (full names, with prefix)."""
    changes = [UserScramCredentialUpsertion(u, ScramMechanism.SCRAM_SHA_256, p) for u, p in passwords.items()]
    _raise_refused(client.alter_user_scram_credentials(changes))


def revoke_users(client: KafkaAdminClient, users: Iterable[str]) -> None:
    """Lock users out (full names); a connection that is open stays until its next login.

    The password is replaced by one that nobody knows; the user is not deleted. After a deletion Kafka 4.3.1 loses
    other users' credentials at its next start (seen here: 3 x 13 users, 13 deleted, restart: nobody can log in, the
    super user neither), until it has written a metadata snapshot.
    """
    issue_users(client, {user: secrets.token_urlsafe(32) for user in users})


def withdraw(admin: KafkaAccess, prefix: str, topics: Sequence[Topic], users: Iterable[str]) -> None:
    """Remove a deployment from a broker: topics with their records, rules and users. Used by tests."""
    names = list(users)
    with admin_client(admin) as client:
        present = set(client.list_topics()) & {prefix + t.name for t in topics}
        if present:
            client.delete_topics(sorted(present))
        _reconcile_rules(client, set(), {f"User:{prefix}{user}" for user in names})
        revoke_users(client, [prefix + user for user in names])


def settings_of(topic: Topic) -> dict[str, str]:
    """The broker's settings of one topic."""
    small = topic.name.startswith(INTAKE)
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": str(FOR_EVER if topic.compacted else topic.retention_ms),
        "message.timestamp.type": "LogAppendTime" if topic.log_append_time else "CreateTime",
        "max.message.bytes": str(FACT_BYTES_MAX if small else MESSAGE_BYTES_MAX),
    }


def rules(prefix: str, topics: Iterable[Topic], users: Iterable[str]) -> set[tuple[str, ResourceType, str, ACLOperation]]:
    """The rules of a deployment as (principal, resource type, resource, operation)."""
    wanted = {(f"User:{prefix}{user}", ResourceType.GROUP, prefix + user, ACLOperation.READ) for user in users}
    for topic in topics:
        wanted |= {(f"User:{prefix}{u}", ResourceType.TOPIC, prefix + topic.name, ACLOperation.WRITE) for u in topic.writers}
        wanted |= {(f"User:{prefix}{u}", ResourceType.TOPIC, prefix + topic.name, ACLOperation.READ) for u in topic.readers}
    return wanted


def _create_topics(client: KafkaAdminClient, prefix: str, topics: Sequence[Topic], replication: int) -> None:
    present = set(client.list_topics())
    wanted = {prefix + topic.name: topic for topic in topics}
    missing = {
        name: {"num_partitions": t.partitions, "replication_factor": replication, "configs": settings_of(t)}
        for name, t in wanted.items()
        if name not in present
    }
    if missing:
        try:
            client.create_topics(missing, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return _create_topics(client, prefix, topics, replication)  # another process made one meanwhile
    settled = [ConfigResource(ConfigResourceType.TOPIC, n, settings_of(t)) for n, t in wanted.items() if n in present]
    if settled:
        client.alter_configs(settled, incremental=True)
    return None


def _reconcile_rules(
    client: KafkaAdminClient, wanted: set[tuple[str, ResourceType, str, ACLOperation]], principals: set[str]
) -> None:
    found, error = client.describe_acls(_every_rule())
    if error is not None and error.errno != 0:
        raise error()
    present = {_key(rule): rule for rule in found if rule.principal in principals}
    create = [_rule(*row) for row in sorted(wanted - present.keys())]
    for at in range(0, len(create), RULES_A_REQUEST):
        result = client.create_acls(create[at : at + RULES_A_REQUEST])
        if result["failed"]:
            raise ProvisionError(f"the broker refused {len(result['failed'])} rules, the first: {result['failed'][0]}")
    stale = [present[key] for key in present.keys() - wanted]
    if stale:
        client.delete_acls([_filter(rule) for rule in stale])
    _await_rules(client, wanted, principals)


def _await_rules(
    client: KafkaAdminClient, wanted: set[tuple[str, ResourceType, str, ACLOperation]], principals: set[str]
) -> None:
    """Wait until the broker acts on the rules: the controller answers before the broker's authorizer has them."""
    until = time.monotonic() + IN_FORCE_S
    while {_key(rule) for rule in client.describe_acls(_every_rule())[0] if rule.principal in principals} != wanted:
        if time.monotonic() > until:
            raise ProvisionError(f"the broker took the rules, but did not act on them within {IN_FORCE_S:.0f} s; try again")
        time.sleep(0.02)


def _key(rule: ACL) -> tuple[str, ResourceType, str, ACLOperation]:
    pattern = rule.resource_pattern
    return (rule.principal, pattern.resource_type, pattern.resource_name, rule.operation)


def _rule(principal: str, kind: ResourceType, name: str, operation: ACLOperation) -> ACL:
    how = ACLResourcePatternType.PREFIXED if kind == ResourceType.GROUP else ACLResourcePatternType.LITERAL
    return ACL(principal, "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, how))


def _filter(rule: ACL) -> ACLFilter:
    pattern = rule.resource_pattern
    where = ResourcePatternFilter(pattern.resource_type, pattern.resource_name, pattern.pattern_type)
    return ACLFilter(rule.principal, rule.host, rule.operation, rule.permission_type, where)


def _every_rule() -> ACLFilter:
    anywhere = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    return ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, anywhere)


def _raise_refused(answers: Mapping[str, Any]) -> None:
    refused = {user: message for user, message in answers.items() if message}
    if refused:
        user, message = next(iter(refused.items()))
        raise ProvisionError(f"the broker refused {len(refused)} users, the first: {user}: {message}")
