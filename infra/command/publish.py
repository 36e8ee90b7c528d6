"""`sightline publish`: facts out of files, as an agency would send them.

Exit status: 0 all published · 1 nothing could be done · 2 wrong use · 3 some lines were refused (the others are published) ·
4 facts wait on this disk for the broker.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from domain.problems import InvalidFact, SightlineError
from infra.errors import InfraError
from infra.logs import plain_exception
from infra.settings import Settings
from producers.client import AgencyClient
from producers.drafts import Published, Report, publish_drafts
from producers.errors import BrokerUnavailable, NotYours, TooLarge
from producers.facts import Fact
from schemas.codec import Codec
from schemas.registry import Registry, RegistryUnavailable
from schemas.topics import AGENCIES

REFUSED: Final = 3
WAITING: Final = 4
PATIENCE_S: Final = 10.0
"""Without an acknowledgement for this long, the facts are left to wait: the next `publish` as this agency sends them first."""

T = TypeVar("T")
STORE_FACTS: Final = 1_000
LINE_BYTES_MAX: Final = 4 * 1024 * 1024
SHOWN: Final = 10
"""Reports shown of each kind; the rest are counted (`--json` has all)."""

CONSOLE: Final = Console(stderr=True, highlight=False)

agency_option = click.option("--agency", type=click.Choice(AGENCIES), help="As whom; by default what the first envelope says.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


@click.group()
def command() -> None:
    """Publish facts from files, as an agency's own system would.

    A fact is validated, kept on this disk, then sent. The same file twice adds nothing.
    """
    # What the client's thread logs is said by this command's own last line; standard output is the result's.
    structlog.configure(
        processors=[structlog.processors.add_log_level, plain_exception, structlog.dev.ConsoleRenderer(colors=False)],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
    )


@command.command()
@click.argument("file", type=click.File("rb"))
@agency_option
@json_option
def events(*, file: Any, agency: str | None, as_json: bool) -> None:
    """Publish JSON lines: `{"record": "SchoolConcern", "value": {"envelope": {…}, …}}`. FILE may be `-`.

    Instants are ISO 8601 with an offset. A line that is refused is reported with its field and rule; the others go on.
    """
    name = Path(file.name).name
    lines = ((number, line) for number, line in enumerate(file, start=1) if line.strip())
    first = next(lines, None)
    if first is None:
        raise InfraError(f"{name} holds no line")
    agency = agency or _agency_of(name, first[1])
    reports: list[Report] = []
    with _client(agency) as client:
        count = 0
        ready: list[Fact] = []
        for number, line in _chain(first, lines):
            fact = _fact(client, name, number, line, reports)
            if fact is not None:
                ready.append(fact)
            if len(ready) == STORE_FACTS:
                client.store(ready)
                count, ready = count + len(ready), []
        client.store(ready)
        _finish(client, Published(count + len(ready), (), tuple(reports)), {}, as_json=as_json)


@command.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--year", type=click.IntRange(1990, 2100), help="The year in which the collection year begins (1 April).")
@json_option
def ssda903(*, folder: Path, year: int | None, as_json: bool) -> None:
    """Publish an SSDA903 return, as children's social care: header.csv and missing.csv of FOLDER."""
    from producers.ssda903 import AGENCY, read_folder

    reading = _mendable(lambda: read_folder(folder, year_begin=year))
    with _client(AGENCY) as client:
        done = publish_drafts(client, reading.drafts)
        everything = Published(done.count, done.refused, (*reading.reports, *done.reports))
        _finish(client, everything, reading.counts, as_json=as_json)


@command.command("cpis-fhir")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def cpis_fhir(*, files: tuple[Path, ...], as_json: bool) -> None:
    """Publish CP-IS FHIR R4 resources (XML or JSON, single or in Bundles), as health. In any order and any number of calls.

    A CarePlan or Flag without its Patient waits in the state folder, is reported, and is told when the Patient comes.
    """
    from producers.cpis_fhir import AGENCY
    from producers.fhir import Resource, parse
    from producers.waiting import WaitingRoom

    settings = Settings.load()
    resources: list[Resource] = []
    unread: list[Report] = []
    for file in files:
        try:
            resources += parse(file.name, file.read_bytes())
        except SightlineError as err:
            unread.append(Report(file.name, 0, "file", "unreadable", str(err)))
    room = _mendable(lambda: WaitingRoom(settings.spool_dir(f"{AGENCY}-cpis")))
    try:
        joined = _mendable(lambda: room.receive(resources))
        with _client(AGENCY) as client:
            done = publish_drafts(client, joined.drafts)
            room.told(joined, done.refused)
            counts = {**joined.counts, "waiting_resources": len(joined.waiting)}
            everything = Published(done.count, done.refused, (*unread, *joined.reports, *done.reports))
            _finish(client, everything, counts, as_json=as_json)
    finally:
        room.close()


@command.command("mend-spool")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def mend_spool(*, folder: Path) -> None:
    """Let every fact that can be read in the damaged spool FOLDER wait again. The error that names the folder says to do so.

    End the client that uses it first. Damaged files are kept beside as `*.damaged`. Exit status 3: some facts could not be read,
    or nobody can know how many.
    """
    from producers.mending import mend

    done = _mendable(lambda: mend(folder))
    click.echo(f"{done.waiting:,} facts wait in {folder} and go out with the next client that opens it.")
    if done.aside:
        names = ", ".join(path.name for path in done.aside)
        CONSOLE.print(f"Kept as they were, with facts in clear; remove them when nobody needs them: {names}", soft_wrap=True)
    lost = [f"at least {done.lost:,} facts"] if done.lost else []
    if done.open_end:
        lost.append("an unknown number of the newest facts")
    if lost:
        advice = "publish that time again from your own records; what has arrived counts once"
        said = " and ".join(lost)
        CONSOLE.print(f"{said[0].upper()}{said[1:]} could not be read: {advice}.", style="yellow", soft_wrap=True)
        sys.exit(REFUSED)


@contextmanager
def _client(agency: str) -> Iterator[AgencyClient]:
    settings = Settings.load()
    secret = settings.secret(f"agency.{agency}.key").encode()
    codec, spool = Codec(Registry(settings.registry_url)), settings.spool_dir(f"{agency}-publish")
    client = _mendable(lambda: AgencyClient(settings.access(f"agency.{agency}"), agency, codec, secret, spool))
    try:
        yield client
    except SightlineError as err:
        raise InfraError(str(err)) from err
    finally:
        client.close(0)


def _mendable(do: Callable[[], T]) -> T:
    try:
        return do()
    except SightlineError as err:
        raise InfraError(str(err)) from err


def _chain(first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


def _agency_of(name: str, line: bytes) -> str:
    try:
        agency = json.loads(line)["value"]["envelope"]["agency"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise InfraError(f"{name}, line 1: has no value.envelope.agency; give --agency, or mend the line") from err
    if agency not in AGENCIES:
        raise InfraError(f"{name}, line 1: value.envelope.agency is not one of {', '.join(AGENCIES)}")
    return str(agency)


def _fact(client: AgencyClient, name: str, number: int, line: bytes, reports: list[Report]) -> Fact | None:
    if len(line) > LINE_BYTES_MAX:
        reports.append(Report(name, number, "line", "too-large", f"is over {LINE_BYTES_MAX // 2**20} MiB"))
        return None
    try:
        given = json.loads(line)
        record, value = given["record"], given["value"]
        if not isinstance(record, str) or not isinstance(value, dict) or not isinstance(value.get("envelope"), dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        reports.append(Report(name, number, "line", "json", 'is not {"record": "…", "value": {"envelope": {…}, …}}'))
        return None
    try:
        return client.prepare(record, value)
    except InvalidFact as err:
        reports += [Report(name, number, p.field, p.rule, p.message) for p in err.problems]
    except (NotYours, TooLarge) as err:
        rule = "too-large" if isinstance(err, TooLarge) else "not-yours"
        reports.append(Report(name, number, "envelope.agency" if rule == "not-yours" else record, rule, str(err)))
    return None


def _finish(client: AgencyClient, done: Published, counts: Mapping[str, int], *, as_json: bool) -> None:
    """Send, say what happened, and leave with the exit status that says it too."""
    problem = _drain(client)
    refused = [r for r in done.reports if not r.kept]
    if as_json:
        reports = [
            {"file": r.file, "line": r.line, "field": r.field, "rule": r.rule, "message": r.message, "kept": r.kept}
            for r in done.reports
        ]
        said = {
            "agency": client.agency,
            "published": done.count,
            "waiting": client.waiting,
            "counts": dict(counts),
            "reports": reports,
        }
        click.echo(json.dumps({**said, "problem": str(problem) if problem else None}))
    else:
        _say_reports(done.reports)
        more = "".join(f" · {name.replace('_', ' ')} {count:,}" for name, count in counts.items())
        click.echo(f"{client.agency}: {done.count:,} facts published{more}")
    if problem is not None:
        CONSOLE.print(
            f"{client.waiting:,} facts wait on this disk: {problem}. The next publish as {client.agency} sends them first.",
            style="yellow",
        )
        sys.exit(WAITING)
    if refused:
        sys.exit(REFUSED)


def _say_reports(reports: tuple[Report, ...]) -> None:
    shown: Counter[tuple[str, str, str]] = Counter()
    for r in reports:
        kind = (r.file, r.field, r.rule)
        shown[kind] += 1
        if shown[kind] <= SHOWN:
            kept = "kept" if r.kept else "left out"
            CONSOLE.print(f"{r.file}, line {r.line}, {r.field}: {r.message} [{r.rule}; {kept}]", markup=False, soft_wrap=True)
    for (file, field, rule), count in shown.items():
        if count > SHOWN:
            CONSOLE.print(f"{file}, {field}: {count - SHOWN:,} more like this [{rule}]", markup=False)


def _drain(client: AgencyClient) -> SightlineError | None:
    """Wait while facts go out; the problem when they stop going."""
    total, moved, last = client.waiting, time.monotonic(), client.waiting
    columns = (TextColumn("Sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=CONSOLE, transient=True, disable=not CONSOLE.is_terminal) as progress:
        task = progress.add_task("send", total=total)
        while client.waiting:
            try:
                client.flush(0.5)
            except (BrokerUnavailable, RegistryUnavailable) as err:
                if time.monotonic() - moved > PATIENCE_S:
                    return client.problem or err
            except SightlineError as err:
                return err
            if client.waiting < last:
                last, moved = client.waiting, time.monotonic()
            progress.update(task, completed=total - client.waiting)
    return None
