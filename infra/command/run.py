"""`sightline run`: everything in the foreground."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import threading

import click
import structlog
from rich.console import Console

from infra.logs import configure
from infra.settings import Settings
from infra.state import State
from infra.supervisor import Supervisor

log = structlog.get_logger("sightline.run")


@click.command()
@click.option("--demo/--no-demo", default=True, help="With the simulated borough (default), or without.")
def command(*, demo: bool) -> None:
    """Bring everything up in the foreground; Ctrl-C stops it all.

    The first run fetches what is missing and imports a year of a simulated borough; later runs keep the data and
    start in seconds.
    """
    configure("supervisor", level=logging.WARNING)
    console = Console(highlight=False)
    demo = demo and bool(importlib.util.find_spec("infra.demo"))
    if demo:
        importlib.import_module("infra.demo").begin(Settings.load())
    with console.status("") as spinner:

        def tell(step: str) -> None:
            console.print(f"[green]·[/] {step}")
            spinner.update(step)

        def ready(settings: Settings) -> None:
            spinner.stop()
            console.print(f"\n[bold]Sightline is up:[/] http://{settings.web_host}:{settings.web_port}/   (Ctrl-C stops it)\n")
            if demo:
                # daemon: the borough must not outlive the house, and what it left half-said is said again next time
                threading.Thread(target=_live, args=(settings, console), name="demo", daemon=True).start()

        Supervisor(State.open(), tell).run(ready)
    console.print("Everything is stopped; the data is kept.")


def _live(settings: Settings, console: Console) -> None:
    try:
        importlib.import_module("infra.demo").run(settings, console)
    except Exception as error:  # whatever it was: the house goes on without the borough, and says so
        log.warning("borough-stopped", error=type(error).__name__)
        console.print(f"[yellow]The simulated borough has stopped ({type(error).__name__}); start again to go on.[/]")
