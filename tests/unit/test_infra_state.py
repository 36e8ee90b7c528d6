"""The state folder, settings and downloads: what is remembered, what is refused, and in which words."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra import demo, parts
from infra.errors import ChecksumError, PartsError, StateError
from infra.postgres import Postgres
from infra.settings import Settings, checked_prefix, database_prefix
from infra.state import DEMONSTRATION, State


class TestSecrets:
    """Secrets are made once and are ours alone."""

    def test_made_once_also_when_asked_at_the_same_time(self, tmp_path: Path) -> None:
        """Twenty askers get one value, in a file of mode 0600."""
        state = State.open(tmp_path)
        with ThreadPoolExecutor(20) as pool:
            found = set(pool.map(lambda _: state.secret("kafka/web"), range(20)))
        assert 1 == len(found)
        assert 0o600 == stat.S_IMODE((tmp_path / "secrets/kafka/web").stat().st_mode)
        assert 0o700 == stat.S_IMODE((tmp_path / "secrets").stat().st_mode)
        assert [tmp_path / "secrets/kafka/web"] == [p for p in (tmp_path / "secrets").rglob("*") if p.is_file()]

    def test_repr_shows_none(self, tmp_path: Path) -> None:
        """Settings in a log or a traceback give nothing away."""
        settings = Settings.load(env={}, state=State.open(tmp_path))
        assert settings.state.secret("postgres/sightline") not in repr(settings)

    def test_master_key_of_wrong_length_is_refused(self, tmp_path: Path) -> None:
        """A damaged master key is never used, nor replaced."""
        settings = Settings.load(env={}, state=State.open(tmp_path))
        assert 32 == len(settings.master_key)
        (tmp_path / "secrets/master.key").write_text("c2hvcnQ=")
        with pytest.raises(StateError, match="restore it"):
            _ = settings.master_key


class TestPorts:
    """A port is the default when free, another when taken, and the same the next time."""

    def test_taken_default_gives_another_that_is_remembered(self, tmp_path: Path) -> None:
        """Somebody else listens on the default."""
        state = State.open(tmp_path)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = other.getsockname()[1]
            port = state.claim_port("web", taken)
            assert taken != port
        assert port == state.claim_port("web", taken)
        assert {"web": port} == State.open(tmp_path).ports()

    def test_two_names_never_share(self, tmp_path: Path) -> None:
        """A port that another part remembers is not given away while that part is down."""
        state = State.open(tmp_path)
        first = state.claim_port("kafka", 0)
        assert first != state.claim_port("web", first)

    def test_record_cut_short_reads_as_empty(self, tmp_path: Path) -> None:
        """A crash in the middle of a write does not stop the next start."""
        (tmp_path / "ports.json").write_text('{"web": 80')
        assert {} == State.open(tmp_path).ports()


class TestForget:
    """`reset` forgets data and keeps what was downloaded."""

    def test_what_goes_and_what_stays(self, tmp_path: Path) -> None:
        """Data, secrets, logs and spool go; the environment, parts and static files stay."""
        state = State.open(tmp_path)
        for name in ("data", "secrets", "logs", "spool", "run", "venv", "parts", "static"):
            (tmp_path / name).mkdir()
        state.forget()
        assert {"venv", "parts", "static"} == {p.name for p in tmp_path.iterdir()}
        assert [] == state.forget()


class TestSettings:
    """Addresses come from the environment, else from the state folder; half an answer is refused."""

    @pytest.mark.parametrize("prefix", ["", "t1.", "halton-2."])
    def test_good_prefix(self, prefix: str) -> None:
        """Letters, digits, dots and dashes."""
        assert prefix == checked_prefix(prefix)

    @pytest.mark.parametrize("prefix", ["Halton.", "a b.", "x", "../", "ü."])
    def test_bad_prefix(self, prefix: str) -> None:
        """Anything else is refused with the rule."""
        with pytest.raises(StateError, match="ending in"):
            checked_prefix(prefix)

    def test_names_derive_from_the_prefix(self, tmp_path: Path) -> None:
        """Topics, users and databases carry it."""
        settings = Settings.load(env={}, state=State.open(tmp_path), prefix="t1.")
        assert "t1_" == database_prefix("t1.")
        assert settings.views_dsn.endswith("/t1_views")
        assert settings.keep_dsn.endswith("/t1_keep")
        assert "t1.web" == settings.access("web").options()["sasl_plain_username"]
        assert "admin" == settings.admin().options()["sasl_plain_username"]

    def test_given_addresses(self, tmp_path: Path) -> None:
        """What the environment names is used, over TLS unless said otherwise."""
        env = {
            "SIGHTLINE_KAFKA": "b1:9093,b2:9093",
            "SIGHTLINE_REGISTRY": "https://registry.example/",
            "SIGHTLINE_WEB": "10.0.0.7:80",
        }
        settings = Settings.load(env=env, state=State.open(tmp_path))
        assert ("SASL_SSL", 3, True) == (settings.security_protocol, settings.replication, settings.given_kafka)
        assert ["b1:9093", "b2:9093"] == settings.access("web").options()["bootstrap_servers"]
        assert ("https://registry.example", "10.0.0.7", 80) == (settings.registry_url, settings.web_host, settings.web_port)

    def test_half_a_database_is_refused(self, tmp_path: Path) -> None:
        """Views without keep would scatter a deployment over two servers unnoticed."""
        with pytest.raises(StateError, match="both"):
            Settings.load(env={"SIGHTLINE_DATABASE": "postgresql://x/y"}, state=State.open(tmp_path))

    def test_state_folder_that_is_a_file(self, tmp_path: Path) -> None:
        """The message names the folder and the way out."""
        (tmp_path / "file").touch()
        with pytest.raises(StateError, match="SIGHTLINE_STATE"):
            State.open(tmp_path / "file" / "state")


class TestParts:
    """What is fetched is what the lock names, or it is not used."""

    def test_lock_is_whole(self) -> None:
        """46 jars of Kafka, the registry, five web components; no host is named."""
        found = parts.locked()
        assert {"kafka": 46, "registry": 1, "static": 5} == {
            u: sum(p.use == u for p in found) for u in ("kafka", "registry", "static")
        }
        assert all(len(p.sha256) == 64 for p in found)
        assert "http" not in parts.LOCK.read_text()

    def test_damaged_cache_is_not_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file in the cache with another hash is fetched again, here without a network."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("SIGHTLINE_MAVEN", "http://127.0.0.1:1/maven")
        monkeypatch.setattr("infra.parts.time.sleep", lambda seconds: None)
        part = next(p for p in parts.locked() if p.name == "htmx")
        kept = parts.cache_folder() / part.sha256[:16] / part.filename
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"not htmx")
        with pytest.raises(PartsError, match=r"no connection to the Maven repository.*SIGHTLINE_MAVEN"):
            parts.install(State.open(tmp_path / "state"), [part])
        assert not kept.exists()

    def test_wrong_hash_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A mirror that serves something else is not believed, and not asked again."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        genuine = next(p for p in parts.locked() if p.name == "htmx-ext-sse")
        repository = tmp_path / "maven" / genuine.group.replace(".", "/") / genuine.artifact / genuine.version
        repository.mkdir(parents=True)
        (repository / genuine.filename).write_bytes(b"something else")
        with _served(tmp_path / "maven") as url:
            monkeypatch.setenv("SIGHTLINE_MAVEN", url)
            with pytest.raises(ChecksumError, match="the lock names"):
                parts.install(State.open(tmp_path / "state"), [replace(genuine, name="x")])
        assert not (tmp_path / "state" / "static" / "x").exists()


class TestUnsafeByChoiceOnly:
    """Cookies without `Secure`, invented children and shared passwords: on this machine alone, or because somebody said so."""

    @pytest.mark.parametrize(
        ("env", "secure", "demonstration"),
        [
            ({}, False, True),
            ({"SIGHTLINE_WEB": "[::1]:8000"}, False, True),
            ({"SIGHTLINE_WEB": "localhost:8000"}, False, True),
            ({"SIGHTLINE_WEB": "0.0.0.0:8000"}, True, False),
            ({"SIGHTLINE_WEB": "halton.example:443"}, True, False),
            ({"SIGHTLINE_SECURE_COOKIES": "yes"}, True, True),
            ({"SIGHTLINE_WEB": "0.0.0.0:8000", "SIGHTLINE_SECURE_COOKIES": "no"}, False, False),
            ({"SIGHTLINE_KAFKA": "broker.example:9093"}, False, False),
            ({"SIGHTLINE_DATABASE": "postgresql://x/views", "SIGHTLINE_KEEP": "postgresql://x/keep"}, False, False),
            ({"SIGHTLINE_KAFKA": "broker.example:9093", "SIGHTLINE_DEMONSTRATION": "yes"}, False, True),
            ({"SIGHTLINE_DEMONSTRATION": "no"}, False, False),
        ],
    )
    def test_defaults(self, tmp_path: Path, env: dict[str, str], *, secure: bool, demonstration: bool) -> None:
        """By the address served on and the servers given; each can be said outright."""
        settings = Settings.load(env=env, state=State.open(tmp_path))
        assert (secure, demonstration) == (settings.secure_cookies, settings.demonstration)

    def test_a_word_that_is_neither_is_refused(self, tmp_path: Path) -> None:
        """A misspelt `no` must not pass for yes, nor the other way about."""
        with pytest.raises(StateError, match="SIGHTLINE_SECURE_COOKIES is `yes` or `no`"):
            Settings.load(env={"SIGHTLINE_SECURE_COOKIES": "false"}, state=State.open(tmp_path))

    def test_no_demonstration_on_given_servers(self, tmp_path: Path) -> None:
        """Refused before an account or a mark is made; on servers of our own the mark comes first, and `reset` takes it away."""
        state = State.open(tmp_path)
        with pytest.raises(StateError, match="--no-demo"):
            demo.begin(Settings.load(env={"SIGHTLINE_DEMONSTRATION": "no"}, state=state))
        assert {} == state.read_json(DEMONSTRATION)
        demo.begin(Settings.load(env={}, state=state))
        assert state.read_json(DEMONSTRATION)
        state.forget()
        assert {} == state.read_json(DEMONSTRATION)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A folder over HTTP on loopback."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
class TestElsewhere:
    """PostgreSQL's data outside the state folder, where its user cannot enter that."""

    def test_a_folder_made_anew_never_meets_the_old_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Removed, or cloned again at the same path: other data; the same folder: the same."""
        monkeypatch.setattr("infra.postgres.FALLBACK", tmp_path / "lib")
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        first = Postgres(State.open(closed / "state"))
        data = first._data()
        assert data.is_relative_to(tmp_path / "lib")
        assert data == Postgres(State.open(closed / "state"))._data()
        assert data.parent == first.elsewhere
        shutil.rmtree(closed / "state")
        assert data != Postgres(State.open(closed / "state"))._data()

    def test_reset_removes_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Children's data does not outlive the folder that was reset."""
        monkeypatch.setattr("infra.postgres.FALLBACK", tmp_path / "lib")
        (tmp_path / "closed").mkdir(mode=0o700)
        state = State.open(tmp_path / "closed" / "state")
        data = Postgres(state)._data()
        assert data.exists()
        state.forget()
        assert not data.parent.exists()
        assert Postgres(state).elsewhere is None
