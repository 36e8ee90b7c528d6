"""The keys entries are encrypted under: one a presentation and record class, wrapped by a master key outside PostgreSQL.

A key is committed in `keep` (insert or get) and acknowledged by the compacted topic `keys` before its first use.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, Engine, select, text

from domain.problems import SightlineError
from projections.arrays import Column
from projections.driver import execute, rows
from projections.keep_tables import secret

log: Final = structlog.get_logger()

KeyName = tuple[str, str]
"""(presentation id, record class)."""

NONCE_BYTES: Final = 12
CACHED_MAX: Final = 50_000
"""Keys at hand, with more of them it begins anew. Some 350 bytes each with their names: 18 MB. (OpenSSL's own state for a key is
2.5 KB, and made in less than 1 µs: so it is made each time.)
"""

LOADED_MAX: Final = 200_000
"""The same for who has them all at hand."""

Publish = Callable[[Mapping[KeyName, tuple[bytes, int]]], Callable[[], None]]
"""Sends wrapped keys (and when they were made, µs) to topic `keys`; what it returns waits until all are acknowledged."""


class WrongMasterKey(SightlineError):
    """The master key does not open what `keep` holds: the wrong file, or the wrong database."""


class KeysAbsent(SightlineError):
    """`keep` holds no row of keys that were made once: it is older, or another one."""


class KeyRing:
    """Keys by presentation and class. `publish` is None for readers, who never make one."""

    def __init__(
        self, engine: Engine, master: bytes, publish: Publish | None = None, now_us: Callable[[], int] | None = None
    ) -> None:
        self._engine = engine
        self._master = AESGCM(master)
        self._publish = publish
        self._now = now_us or _now_us
        self._conn: Connection | None = None
        self._open: dict[KeyName, bytes | None] = {}
        self._most = CACHED_MAX
        self._on_their_way: list[tuple[Callable[[], None], list[KeyName]]] = []
        self._arrived: list[KeyName] = []
        self._misfits: set[KeyName] = set()

    def secret(self, name: str) -> bytes:
        """A 32-byte secret of this deployment, made once. Ids in the ledger rest on it: it is restored with `keep`."""
        with self._engine.begin() as conn:
            wrapped = self._wrap(os.urandom(32), name, "secret")
            conn.execute(text("insert into secret values (:n, :w) on conflict do nothing"), {"n": name, "w": wrapped})
            row = conn.execute(select(secret.c.wrapped).where(secret.c.name == name)).one()
        return self._unwrap(bytes(row.wrapped), name, "secret")

    def ensure(self, names: Iterable[KeyName]) -> None:
        """Have a key for each of `names`, made, kept and acknowledged by topic `keys` where there was none.

        Raises:
            WrongMasterKey; KafkaError: not acknowledged.
        """
        self.make(names)
        self.arrive()

    def make(self, names: Iterable[KeyName]) -> None:
        """As `ensure`, but new keys may still be on their way to topic `keys`: none is used before `arrive`."""
        if len(self._open) > self._most:
            self._open.clear()
        missing = sorted(set(names).difference(self._open))
        if not missing:
            return
        found = self._select(missing) if self._publish is None else self._make(missing)
        self._send({n: (w, at) for n, (w, at, published) in found.items() if w is not None and not published})
        for name in missing:
            self._keep(name, found[name][0] if name in found else None)

    def load(self) -> bool:
        """Have every key at hand that there is, unless they are more than are kept, and say so: for whoever needs most of them.

        One question; asked for as they come, some at a time, they take PostgreSQL and us several times as long.

        Raises:
            WrongMasterKey.
        """
        with self._statement() as conn:
            found = rows(conn, _EVERY, {"n": LOADED_MAX + 1})
        if len(found) > LOADED_MAX:
            return False
        self._most = LOADED_MAX
        for holder, record_class, wrapped in found:
            self._keep((holder, record_class), wrapped)
        return True

    def demand(self, names: Collection[KeyName]) -> None:
        """That `keep` knows each of these keys, be it that it was destroyed.

        Raises:
            KeysAbsent.
        """
        if names and (absent := set(names).difference(self._select(sorted(names)))):
            self._open = {n: k for n, k in self._open.items() if n not in absent}
            raise KeysAbsent(f"`keep` lacks {len(absent)} keys that the ledger's entries need: restore it, or check which it is")

    def arrive(self) -> None:
        """Wait until every key that was made has arrived in topic `keys`.

        Raises:
            KafkaError: one has not; `forget` what was made.
        """
        while self._on_their_way:
            wait, names = self._on_their_way[0]
            wait()
            self._arrived += names
            del self._on_their_way[0]

    def seal(self, name: KeyName, plain: bytes, bound_to: bytes) -> tuple[bytes, bytes]:
        """(nonce, ciphertext) of `plain`; `bound_to` is authenticated, not hidden. The key must have been ensured.

        Raises:
            KeyError: the key was destroyed or never ensured.
        """
        key = self._open[name]
        if key is None:
            raise KeyError(name)
        nonce = os.urandom(NONCE_BYTES)
        return nonce, AESGCM(key).encrypt(nonce, plain, bound_to)

    def unseal(self, name: KeyName, nonce: bytes, data: bytes, bound_to: bytes) -> bytes | None:
        """The plaintext; None when the key was destroyed: then it is gone for everyone, for ever. So it is when the key was lost
        with `keep` and another made in its place, which raises an alarm: nobody else waits for what nobody can read.
        """
        if name not in self._open:
            self.ensure([name])
        if (key := self._open[name]) is None:
            return None
        try:
            return AESGCM(key).decrypt(nonce, data, bound_to)
        except InvalidTag:
            if name not in self._misfits:
                self._misfits.add(name)
                log.error("key-does-not-open", alarm=True, record_class=name[1])  # noqa: TRY400 (I7)
            return None

    def forget(self) -> None:
        """Forget cached keys (a new connection may show another `keep`)."""
        for held in (self._open, self._on_their_way, self._arrived):
            held.clear()
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def merge(self, wrapped: Mapping[KeyName, tuple[bytes | None, int]]) -> int:
        """Put back keys that topic `keys` holds and a restored `keep` lacks; how many. Destroyed on either side stays so.

        Raises:
            WrongMasterKey: these are another deployment's keys; nothing is put back.
        """
        living = {n: (w, at) for n, (w, at) in wrapped.items() if w is not None}
        for name, (w, _) in living.items():
            self._unwrap(w, *name)
        destroyed = [n for n, (w, _) in wrapped.items() if w is None]
        values = {
            "h": [h for h, _ in living], "c": [c for _, c in living],
            "w": [w for w, _ in living.values()], "t": [at for _, at in living.values()],
        }  # fmt: skip
        with self._engine.begin() as conn:
            put_back = conn.execute(_MERGE, values).rowcount
            conn.execute(_DESTROY, {"h": [h for h, _ in destroyed], "c": [c for _, c in destroyed], "t": self._now()})
        self._open.clear()
        return int(put_back)

    def publish_lacking(self, there: Collection[KeyName]) -> int:
        """Send the keys that topic `keys` lacks (a new broker, an old copy of it); how many there were."""
        assert self._publish is not None
        with self._engine.begin() as conn:
            lacking = {(h, c): (bytes(w), at) for h, c, w, at in conn.execute(_LIVING) if (h, c) not in there}
        self._send(lacking)
        self.arrive()
        with self._statement() as conn:
            execute(conn, _ARRIVED, _names(self._arrived, "arrived_"))
        self._arrived = []
        return len(lacking)

    def _send(self, fresh: Mapping[KeyName, tuple[bytes, int]]) -> None:
        if fresh and self._publish is not None:
            self._on_their_way.append((self._publish(fresh), list(fresh)))

    @contextmanager
    def _statement(self) -> Iterator[Connection]:
        """For one statement, committed by itself."""
        if self._conn is None:
            self._conn = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with self._conn.begin():
            yield self._conn

    def _select(self, names: list[KeyName]) -> dict[KeyName, tuple[bytes | None, int, bool]]:
        with self._statement() as conn:
            return _rows(rows(conn, _SELECT, _names(names)))

    def _make(self, names: list[KeyName]) -> dict[KeyName, tuple[bytes | None, int, bool]]:
        """The keys of these names, which are made where there are none. Those that have arrived are noted with them, for no
        statement of its own; one not noted yet is sent again when asked for.
        """
        wrapped = Column("bytea", [self._wrap(AESGCM.generate_key(256), *n) for n in names])
        values = _names(names) | {"w": wrapped, "t": self._now()} | _names(self._arrived, "arrived_")
        with self._statement() as conn:
            found = _rows(rows(conn, _MAKE, values))
        self._arrived = []
        elsewhere = [n for n in names if n not in found]  # made by another at this moment: the statement did not see it yet
        return found | (self._select(elsewhere) if elsewhere else {})

    def _keep(self, name: KeyName, wrapped: bytes | None) -> None:
        self._open[name] = None if wrapped is None else self._unwrap(wrapped, *name)

    def _wrap(self, key: bytes, holder: str, record_class: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._master.encrypt(nonce, key, f"{holder}|{record_class}".encode())

    def _unwrap(self, wrapped: bytes, holder: str, record_class: str) -> bytes:
        try:
            return self._master.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], f"{holder}|{record_class}".encode())
        except InvalidTag as err:
            raise WrongMasterKey(
                "the master key does not open the keys in `keep`: check which master key file is in use"
            ) from err


def _names(names: Collection[KeyName], which: str = "") -> dict[str, Any]:
    return {f"{which}h": Column("text", [h for h, _ in names]), f"{which}c": Column("text", [c for _, c in names])}


def _rows(found: Iterable[Any]) -> dict[KeyName, tuple[bytes | None, int, bool]]:
    return {(r.holder, r.record_class): (r.wrapped, r.created_at, r.published) for r in found}


def keyed_hash(secret_bytes: bytes, *parts: str) -> bytes:
    """HMAC-SHA-256 of `parts`, each with its length before it, so that no two lists of parts give the same bytes."""
    texts = [p.encode() for p in parts]
    message = b"".join([x for t in texts for x in (len(t).to_bytes(4, "big"), t)])
    return hmac.digest(secret_bytes, message, "sha256")


def _now_us() -> int:
    return time.time_ns() // 1000


_NOTED: Final = (
    "update presentation_key k set published = true from (select holder, record_class from presentation_key "
    "join unnest(cast(:arrived_h as text[]), cast(:arrived_c as text[])) as u(h, c) on holder = u.h and record_class = u.c "
    "for update of presentation_key skip locked) n where k.holder = n.holder and k.record_class = n.record_class"
)
"""What another is noting at this moment is left to it: nobody waits for anybody here, so not in a circle either."""

_ARRIVED = text(_NOTED)
_MAKE = text(
    f"with noted as ({_NOTED}), "
    "asked as (select h, c, w from unnest(cast(:h as text[]), cast(:c as text[]), cast(:w as bytea[])) as u(h, c, w)), "
    "made as (insert into presentation_key (holder, record_class, wrapped, created_at, published) "
    "select h, c, w, :t, false from asked order by h, c on conflict do nothing "
    "returning holder, record_class, wrapped, created_at, published) "
    "select holder, record_class, wrapped, created_at, published from made union all "
    "select k.holder, k.record_class, k.wrapped, k.created_at, k.published from presentation_key k "
    "join asked on k.holder = asked.h and k.record_class = asked.c"
)
_EVERY = text("select holder, record_class, wrapped from presentation_key limit :n")
_LIVING = text("select holder, record_class, wrapped, created_at from presentation_key where wrapped is not null")
_MERGE = text(
    "insert into presentation_key (holder, record_class, wrapped, created_at, published) "
    "select h, c, w, t, true "
    "from unnest(cast(:h as text[]), cast(:c as text[]), cast(:w as bytea[]), cast(:t as bigint[])) as u(h, c, w, t) "
    "order by h, c on conflict do nothing"
)
_DESTROY = text(
    "insert into presentation_key (holder, record_class, wrapped, created_at, published) "
    "select h, c, null, :t, true from unnest(cast(:h as text[]), cast(:c as text[])) as u(h, c) "
    "order by h, c on conflict (holder, record_class) do update set wrapped = null, published = true"
)
_SELECT = text(
    "select k.holder, k.record_class, k.wrapped, k.created_at, k.published from presentation_key k "
    "join unnest(cast(:h as text[]), cast(:c as text[])) as u(h, c) on k.holder = u.h and k.record_class = u.c"
)
