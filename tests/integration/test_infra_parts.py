"""The real servers: rules hold, faults are survived, messages say what is wrong."""

from __future__ import annotations

import uuid
from pathlib import Path

import psycopg
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import GroupAuthorizationFailedError, MessageSizeTooLargeError, TopicAuthorizationFailedError

from infra import migrate
from infra.errors import AccessError, StartError
from infra.handshake import check_access
from infra.postgres import Postgres
from infra.provision import admin_client, provision
from infra.registry import compatibility
from infra.state import State
from schemas.topics import KafkaAccess, topics
from tests.services import Deployment, Services


def _send(access: KafkaAccess, topic: str, value: bytes) -> int:
    with_limit = {**access.options(), "max_request_size": 4 * 1024 * 1024}
    producer = KafkaProducer(**with_limit, acks="all", enable_idempotence=True, retries=3, max_block_ms=5_000)
    try:
        return int(producer.send(access.topic(topic), value).get(timeout=10).offset)
    finally:
        producer.close(timeout=2)


class TestRules:
    """Who may do what on the broker."""

    def test_writer_writes_and_reader_reads(self, deployment: Deployment) -> None:
        """An agency's idempotent producer writes its own topic; `unify` reads it in a group of its own name."""
        value = uuid.uuid4().bytes
        offset = _send(deployment.access("agency.police"), "facts.police", value)
        access = deployment.access("unify")
        consumer = KafkaConsumer(**access.options(), group_id=access.prefix + "unify", enable_auto_commit=False)
        partitions = [TopicPartition(access.topic("facts.police"), p) for p in (0, 1)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        found: list[ConsumerRecord] = []
        for _ in range(20):
            found += [r for records in consumer.poll(500).values() for r in records if r.value == value]
            if found:
                break
        consumer.close()
        assert [offset] == [record.offset for record in found]
        assert 1 == found[0].timestamp_type, "LogAppendTime"

    @pytest.mark.parametrize("topic", ["facts.health", "ledger", "decisions"])
    def test_agency_cannot_write_elsewhere(self, deployment: Deployment, topic: str) -> None:
        """Police credentials write nobody else's topic."""
        with pytest.raises(TopicAuthorizationFailedError):
            _send(deployment.access("agency.police"), topic, b"x")

    def test_group_of_another_user_is_refused(self, deployment: Deployment) -> None:
        """A reader cannot enter another user's consumer group."""
        access = deployment.access("agency.police")
        consumer = KafkaConsumer(access.topic("outcomes.police"), **access.options(), group_id=access.prefix + "unify")
        with pytest.raises(GroupAuthorizationFailedError):
            for _ in range(20):
                consumer.poll(300)
        consumer.close()

    def test_fact_over_its_limit_is_refused(self, deployment: Deployment) -> None:
        """256 KiB passes the intake, 300 KiB does not; an entry of 1 MiB passes the ledger."""
        assert 0 <= _send(deployment.access("agency.health"), "facts.health", bytes(256 * 1024))
        assert 0 <= _send(deployment.access("relay"), "ledger", bytes(1024 * 1024))
        with pytest.raises(MessageSizeTooLargeError):
            _send(deployment.access("agency.health"), "facts.health", bytes(300 * 1024))

    def test_topics_have_their_settings(self, deployment: Deployment) -> None:
        """Partitions, retention, clean-up and timestamp type are the catalogue's."""
        with admin_client(deployment.access("admin")) as client:
            names = [deployment.prefix + t.name for t in topics()]
            found = {t["name"]: len(t["partitions"]) for t in client.describe_topics(names)}
            resource = ConfigResource(ConfigResourceType.TOPIC, deployment.prefix + "keys")
            settings = str(client.describe_configs([resource]))
        assert {deployment.prefix + t.name: t.partitions for t in topics()} == found
        assert "compact" in settings and "LogAppendTime" in settings

    def test_provisioning_twice_changes_nothing(self, deployment: Deployment) -> None:
        """A second start finds everything there."""
        s = deployment.settings
        provision(s.admin(), s.prefix, topics(), s.passwords())
        check_access(s.access("web"))


class TestMessages:
    """What somebody reads when it does not work."""

    def test_unknown_user(self, deployment: Deployment) -> None:
        """A user the broker does not know is named at once, not after 30 s."""
        stranger = KafkaAccess(deployment.bootstrap, "nobody", "wrong", deployment.prefix)
        with pytest.raises(AccessError, match=r"refuses user .*nobody"):
            check_access(stranger)

    def test_no_broker(self) -> None:
        """No broker at the address says so."""
        with pytest.raises(AccessError, match=r"no broker at 127\.0\.0\.1:1 answers"):
            check_access(KafkaAccess("127.0.0.1:1", "admin", "x"), timeout_s=0.5)

    def test_a_state_folder_with_other_secrets(self, services: Services, tmp_path: Path) -> None:
        """A database that refuses our password is said to be another's at once, not waited for until the time is over."""
        port = int(services.settings("").views_dsn.rpartition(":")[2].partition("/")[0])
        state = State.open(tmp_path)
        state.write_json("ports.json", {"postgres": port})
        with pytest.raises(StartError, match="another deployment's"):
            Postgres(state).answers()

    def test_not_kafka(self, deployment: Deployment) -> None:
        """A database's port is told apart from a broker's."""
        port = deployment.views_dsn.split("127.0.0.1:")[1].split("/")[0]
        with pytest.raises(AccessError):
            check_access(KafkaAccess(f"127.0.0.1:{port}", "admin", "x"), timeout_s=1.0)


class TestDatabases:
    """`views` and `keep` of a deployment."""

    def test_fresh_and_our_own(self, deployment: Deployment) -> None:
        """Both exist, belong to the one role, and that role is no super user."""
        for dsn in (deployment.views_dsn, deployment.keep_dsn):
            with psycopg.connect(dsn) as connection:
                assert ("sightline", "off") == connection.execute(
                    "select current_user::text, current_setting('is_superuser')"
                ).fetchone()

    def test_drop_and_make_again(self, services: Services) -> None:
        """A dropped database throws its clients out and comes back empty."""
        settings = services.settings(f"d{uuid.uuid4().hex[:6]}.")
        migrate.create_database(settings.views_dsn)
        with psycopg.connect(settings.views_dsn, autocommit=True) as connection:
            connection.execute("create table t()")
            assert migrate.drop_database(settings.views_dsn)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("select 1 from t")
        assert migrate.create_database(settings.views_dsn)
        with psycopg.connect(settings.views_dsn) as connection:
            assert (None,) == connection.execute("select to_regclass('t')").fetchone()
        migrate.drop_database(settings.views_dsn)


class TestFaults:
    """SIGKILL of a server, and its return within I6's bound with what was acknowledged."""

    def test_broker_keeps_what_it_acknowledged(self, services: Services, deployment: Deployment) -> None:
        """The broker is back within 20 s and an acknowledged record is there."""
        access = deployment.access("web")
        before = _send(access, "decisions", b"one")
        services.kill("kafka")
        assert services.restart("kafka") < 20
        assert before + 1 == _send(access, "decisions", b"two")

    def test_revoked_users_stay_out_and_others_in(self, services: Services) -> None:
        """After users were revoked and the broker restarted, the others still log in (Kafka 4.3.1 forgets after deletions)."""
        kept, gone = (services.deploy(only=["decisions"]) for _ in range(2))
        gone.close()
        services.stop("kafka")
        services.restart("kafka")
        for user in ("admin", "web", "agency.csc"):
            check_access(kept.access(user))
        assert 0 == _send(kept.access("web"), "decisions", b"x"), "the rules stand too"
        with pytest.raises(AccessError, match="refuses"):
            check_access(gone.access("web"))
        kept.close()

    def test_database_keeps_what_it_committed(self, services: Services, deployment: Deployment) -> None:
        """The database is back within 10 s and a committed row is there."""
        with psycopg.connect(deployment.views_dsn) as connection:
            connection.execute("create table kept as select 1 as n")
        services.kill("postgres")
        assert services.restart("postgres") < 10
        with psycopg.connect(deployment.views_dsn) as connection:
            assert (1,) == connection.execute("select n from kept").fetchone()
            connection.execute("drop table kept")

    def test_registry_keeps_its_compatibility(self, services: Services) -> None:
        """FULL_TRANSITIVE stands after a kill."""
        services.kill("registry")
        services.restart("registry")
        assert "FULL_TRANSITIVE" == compatibility(services.registry_url)
