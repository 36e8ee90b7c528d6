"""Something that goes on in a thread while a block runs: agencies talk, people decide, somebody reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(name: str, work: Callable[[threading.Event], None], leave_s: float) -> Iterator[None]:
    """`work` is told by its event when it has been enough, and has `leave_s` to come to its end.

    Raises: what `work` raised; AssertionError, when it goes on. But what the block itself raised comes first.
    """
    enough, failed = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            work(enough)
        except BaseException as err:
            failed.append(err)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join(leave_s)
    if failed:
        raise failed[0]
    assert not thread.is_alive(), f"the {name} did not come to an end within {leave_s:.0f} s"
