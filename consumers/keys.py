"""Topic `keys`: the newest wrapped key of every presentation and class, as the compacted topic holds it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from consumers.topic_reader import TopicReader
from domain.problems import SightlineError
from projections.keyring import KeyName
from schemas.codec import Codec, Undecodable, decoded_as
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess

WrappedKeys = dict[KeyName, tuple[bytes | None, int]]
"""(wrapped key, when made in µs) by name; None: destroyed."""


class KeyUnreadable(SightlineError):
    """A record of topic `keys` is not a wrapped key of the name it is filed under."""


def read_keys(access: KafkaAccess, codec: Codec) -> WrappedKeys:
    """Topic `keys` from its beginning to its end now; the last word on each key counts.

    Raises:
        KeyUnreadable: names the offset; TopicSilent, KafkaError.
    """
    found: WrappedKeys = {}
    with closing(TopicReader(access, "keys")) as reader:
        for record in reader.records(*reader.ends()):
            name, wrapped, at = _key(record, codec)
            found[name] = (wrapped, at)
    return found


def _key(record: Any, codec: Codec) -> tuple[KeyName, bytes | None, int]:
    holder, _, record_class = (record.key or b"").decode(errors="replace").rpartition("/")
    if record.value is None:
        return (holder, record_class), None, record.timestamp * 1000
    value = _value(record.value, codec)
    if value is None or (value["holder"], value["record_class"]) != (holder, record_class):
        raise KeyUnreadable(f"topic keys, offset {record.offset}: not a wrapped key of the name it is filed under")
    return (holder, record_class), value["wrapped"], value["created_at"]


def _value(data: bytes, codec: Codec) -> dict[str, Any] | None:
    """Decoded with the registry's schema; when it has lost that id, with the contract's own."""
    try:
        return codec.decode(data).value
    except (Undecodable, RegistryUnavailable):
        return decoded_as("WrappedKey", data)
