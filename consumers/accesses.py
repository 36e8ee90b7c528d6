"""Topic `accesses`: who was shown which children (I7), as the topic holds it; only a restore of `keep` reads it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

from consumers.topic_reader import TopicReader
from domain.model import Json
from domain.problems import SightlineError
from projections.accesses import Access
from schemas.codec import Codec, Undecodable, decoded_as
from schemas.registry import RegistryUnavailable
from schemas.topics import KafkaAccess


class AccessUnreadable(SightlineError):
    """A record of topic `accesses` is not an access record."""


def read_accesses(access: KafkaAccess, codec: Codec) -> Iterator[Access]:
    """Every access record of the topic up to its end now, oldest first; one that was sent twice comes twice.

    Raises:
        AccessUnreadable: names the offset; TopicSilent, KafkaError.
    """
    with closing(TopicReader(access, "accesses")) as reader:
        for record in reader.records(*reader.ends()):
            value = _value(record.value or b"", codec)
            if value is None:
                raise AccessUnreadable(f"topic accesses, offset {record.offset}: not an access record")
            yield Access(**{**value, "children": tuple(value["children"])})


def _value(data: bytes, codec: Codec) -> Json | None:
    """Decoded with the registry's schema; when it has lost that id, with the contract's own."""
    with suppress(Undecodable, RegistryUnavailable):
        found = codec.decode(data)
        return found.value if found.spec.name == "AccessRecorded" else None
    return decoded_as("AccessRecorded", data)
