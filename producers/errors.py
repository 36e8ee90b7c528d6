"""What goes wrong between an agency and the backbone. Each message is one line that says what to do, without values (I7).

```
domain.problems.SightlineError
└── ProducerError
    ├── NotYours             a fact names another agency, or a record this agency does not emit
    ├── TooLarge             a fact is over 256 KiB
    ├── SpoolError
    │   ├── SpoolFull        the spool has reached its bound: the broker has been away too long
    │   ├── SpoolInUse       another process has this spool open
    │   ├── SpoolDamaged     bytes in the middle of a spool file do not check
    │   ├── SpoolClosed      it was closed, or opened by the process that this one was forked from
    │   └── SpoolUnwritable  the disk refuses
    ├── BrokerUnavailable    no broker answers, or none took the fact in time
    ├── NotAuthorised        the broker knows us not, or not for this topic
    └── SourceError          a file to be read is not what it should be (the adapters)
```
"""

from __future__ import annotations

from typing import ClassVar

from domain.problems import SightlineError


class ProducerError(SightlineError):
    """Root of this room's errors."""


class NotYours(ProducerError):
    """The fact is not this agency's to say."""


class TooLarge(ProducerError):
    """The fact, encoded, is over its limit."""


class SpoolError(ProducerError):
    """The local spool cannot take or give facts."""


class SpoolFull(SpoolError):
    """The spool has reached its bound; nothing of this call was stored."""


class SpoolInUse(SpoolError):
    """Another process has this spool folder open."""


class SpoolDamaged(SpoolError):
    """A spool file does not check in its middle, is missing, or is not yet mended whole; the text says where and what to do."""


class SpoolClosed(SpoolError):
    """The spool is not open in this process; nothing of this call was stored."""


class SpoolUnwritable(SpoolError):
    """The disk refused a write; nothing of this call was stored."""


class BrokerUnavailable(ProducerError):
    """No broker answers, or none acknowledged in time."""


class NotAuthorised(ProducerError):
    """The broker refuses our user, or our user has no right to the topic."""


class SourceError(ProducerError):
    """A file cannot be read at all as what it claims to be. Its name may be a child's: not for logs."""

    loggable: ClassVar[bool] = False
