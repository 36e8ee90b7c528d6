"""`sightline run`: everything in the foreground."""

from __future__ import annotations

import logging
import threading
from typing import Final

import click
import structlog
from rich.console import Console

from infra.logs import configure
from infra.settings import Settings
from infra.state import State
from infra.supervisor import Supervisor

LEAVE_S: Final = 5.0
"""The borough is given this long to say its last; an import under way is not: it goes on at the next start."""

log = structlog.get_logger("sightline.run")


@click.command()
@click.option("--demo/--no-demo", default=True, help="With the simulated borough (default), or without.")
@click.option("--children", type=click.IntRange(min=100), help="Of a smaller borough, at its first start.")
def command(*, demo: bool, children: int | None) -> None:
    """Bring everything up in the foreground; Ctrl-C stops it all.

    The first run fetches what is missing and imports a year of a simulated borough; later runs keep the data and
    start in seconds.
    """
    configure("supervisor", level=logging.WARNING)
    console = Console(highlight=False)
    if demo:
        from infra.demo import begin

        begin(Settings.load(), children)
    leave, borough = threading.Event(), list[threading.Thread]()
    with console.status("") as spinner:

        def tell(step: str) -> None:
            console.print(f"[green]·[/] {step}")
            spinner.update(step)

        def ready(settings: Settings) -> None:
            spinner.stop()
            console.print(f"\n[bold]Sightline is up:[/] {settings.web_address}   (Ctrl-C stops it)\n")
            if demo:
                # daemon: the borough must not outlive the house, and what it left half-said is said again next time
                borough.append(threading.Thread(target=_live, args=(settings, console, leave), name="demo", daemon=True))
                borough[0].start()

        def leaving() -> None:
            leave.set()
            for thread in borough:
                thread.join(LEAVE_S)

        Supervisor(State.open(), tell, leaving, spinner.update).run(ready)
    console.print("Everything is stopped; the data is kept.")


def _live(settings: Settings, console: Console, leave: threading.Event) -> None:
    from infra import demo

    try:
        demo.run(settings, console, stop=leave)
    except Exception as error:  # whatever it was: the house goes on without the borough, and says so
        if leave.is_set():
            return
        log.warning("borough-stopped", error=type(error).__name__)
        console.print(f"[yellow]The simulated borough has stopped ({type(error).__name__}); start again to go on.[/]")
