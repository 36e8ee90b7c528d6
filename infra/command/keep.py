"""`sightline keep`: back up and restore the database that no ledger can give back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import click
from kafka.errors import KafkaError

from consumers.accesses import read_accesses
from consumers.keys import WrappedKeys, read_keys
from domain.problems import SightlineError
from domain.times import iso
from infra import keep_backup, stores
from infra.asleep import asleep
from infra.command.progress import sized
from infra.errors import InfraError, StateError
from infra.settings import Settings
from infra.state import State
from projections.accesses import Merged

FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def command() -> None:
    """Back up and restore database `keep`: accounts, credentials, encryption keys, access records.

    The file is encrypted under the master key, which is not in it: keep `secrets/` of the state folder elsewhere, apart.
    """


@command.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def backup(*, file: Path, as_json: bool) -> None:
    """Write `keep`, as of now, to the new encrypted FILE. It may run while the house lives."""
    with sized(quiet=as_json) as bar:
        task = bar.add_task("keep", total=None)
        size = keep_backup.back_up(Settings.load(), file, stores.now_us(), lambda n: bar.advance(task, n))
    click.echo(json.dumps({"file": str(file), "bytes": size}) if as_json else f"{file}: {size} bytes")


@command.command()
@click.argument("file", type=FILE)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also while workers run: they are cut off from `keep`, and start again.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def restore(*, file: Path, yes: bool, force: bool, as_json: bool) -> None:
    """Put the `keep` of FILE in the place of the one there is, then add what topics hold since: keys and access records.

    Accounts and credentials are as they were when FILE was made; everybody signs in anew.
    """
    if not yes:
        click.confirm("Replace database `keep` by the one in this file?", abort=True)
    from infra import assembly

    tell = partial(click.echo, err=True)
    with asleep(State.open(), force=force, tell=tell) as settings, _plainly(), sized(quiet=as_json) as bar:
        task = bar.add_task("keep", total=file.stat().st_size if file.exists() else None)
        assembly.register_schemas(settings)  # a new registry knows none, and keys may have to go to the topic
        codec = assembly.codec(settings)
        publish = assembly.KeyPublisher(settings.access("unify"), codec)

        def keys() -> WrappedKeys:
            return read_keys(settings.access("relay"), codec)

        done = keep_backup.restore(
            settings,
            file,
            keys,
            publish,
            lambda: read_accesses(settings.access("web"), codec),
            stores.now_us(),
            lambda n: bar.advance(task, n),
        )
    if force:  # a worker that was cut off may have had keys on their way to the topic
        with _plainly(STAYS):
            keep_backup.reconcile(settings.keep_dsn, settings.master_key, keys(), publish)
    if as_json:
        click.echo(json.dumps({"created_at": iso(done.created_at), **_as_json(done.keys, done.accesses)}))
        return
    click.echo(f"Restored to {iso(done.created_at)}. {_told(done.keys, done.accesses)}")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def reconcile(*, as_json: bool) -> None:
    """Make `keep` and the topics hold the same keys and access records, each giving the other what it lacks.

    After the broker was lost, or `keep` put back by other means than ours. It may run while the house lives; else it starts what
    it needs. Destroyed keys stay destroyed.
    """
    from infra import assembly

    with ExitStack() as until, _plainly(STAYS):
        try:
            settings = until.enter_context(asleep(State.open(), tell=partial(click.echo, err=True)))
            assembly.register_schemas(settings)
        except StateError:  # workers run, and with them all that is needed
            settings = Settings.load()
        codec = assembly.codec(settings)
        publish = assembly.KeyPublisher(settings.access("unify"), codec)
        keys = keep_backup.reconcile(settings.keep_dsn, settings.master_key, read_keys(settings.access("relay"), codec), publish)
        now = stores.now_us()
        accesses = keep_backup.reconcile_accesses(settings.keep_dsn, lambda: read_accesses(settings.access("web"), codec), now)
    click.echo(json.dumps(_as_json(keys, accesses)) if as_json else _told(keys, accesses))


def _as_json(keys: keep_backup.Reconciled, accesses: Merged) -> dict[str, int]:
    return {
        "put_back": keys.put_back,
        "sent": keys.sent,
        "accesses_put_back": accesses.put_back,
        "accesses_unsent": accesses.unsent,
    }


def _told(keys: keep_backup.Reconciled, accesses: Merged) -> str:
    return (
        f"{keys.put_back} keys came back from topic keys; {keys.sent} keys went to it that it lacked. "
        f"{accesses.put_back} access records came back from topic accesses; {accesses.unsent} will be sent to it again."
    )


STAYS = "what was done stays done; when it is well, say `sightline keep reconcile`"


@contextmanager
def _plainly(stands: str = "nothing was changed") -> Iterator[None]:
    """What a person can mend, as one line."""
    try:
        yield
    except SightlineError as err:
        raise InfraError(f"{err}") from err
    except KafkaError as err:
        raise InfraError(f"the broker refused: {type(err).__name__}; {stands}") from err
