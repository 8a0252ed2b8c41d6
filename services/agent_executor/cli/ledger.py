"""`agent-executor ledger verify`: proves that the ledger's sums follow from its entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from rich.console import Console

from agent_executor.cli.data_dir import DEFAULT_DATA_DIR, DataDir
from agent_executor.cli.environment import database_url_in_environment
from agent_executor.cli.reading import ReadingProgress

if TYPE_CHECKING:
    from agent_executor.ledger.verification.difference import Difference

FAULT_EXIT_CODE: Final = 1
UNREADABLE_EXIT_CODE: Final = 2
MAX_DIFFERENCES_SHOWN: Final = 100

app = typer.Typer(help="Checks the ledger.", no_args_is_help=True)


@app.callback()
def ledger() -> None:
    """Check the ledger."""


@app.command()
def verify(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    organization: Annotated[
        str, typer.Option(help="Check this organization's part only. Default: all.")
    ] = "",
    database_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="The ledger's PostgreSQL database. Default: LEDGER_DATABASE_URL or DATABASE_URL, which "
            "other users of this machine cannot see; without them, the file in the data folder.",
        ),
    ] = "",
) -> None:
    """Check that balances, holds, sums and prices follow from the entries.

    It derives everything again that can be derived, and tells what differs. It only reads, beside a
    running platform too, and repairs nothing. The exit code is 0 if all is well, 1 at a difference,
    2 if the ledger cannot be read.

    For example:

        agent-executor ledger verify

        agent-executor ledger verify --organization acme
    """
    # Imported here so that the other commands start quickly.
    from agent_executor.errors import FailedPreconditionError, UnavailableError
    from agent_executor.ledger.verification.difference import VerifyProgress
    from agent_executor.ledger.verification.verify import verify as differences_of

    console = Console(stderr=True)
    database_url = database_url or database_url_in_environment("ledger")
    path = data_dir / "ledger" / "ledger.sqlite3"
    if not database_url and not path.is_file():
        _tell_unreadable(console, f"{path} does not exist.")
    count = entries = 0

    def tell(progress: VerifyProgress) -> None:
        nonlocal entries
        entries = progress.entries_done
        reading.tell(f"{entries:,} of {progress.entries_total:,} entries checked")

    try:
        with ReadingProgress(console) as reading:
            for one in differences_of(
                database_url or path, organization_id=organization, progress=tell
            ):
                count += 1
                if count <= MAX_DIFFERENCES_SHOWN:
                    typer.echo(_line_of(one))
    except (UnavailableError, FailedPreconditionError) as error:
        _tell_unreadable(console, error.message)
    if count:
        noun = "difference" if count == 1 else "differences"
        hidden = f", of which {MAX_DIFFERENCES_SHOWN} are shown" * (count > MAX_DIFFERENCES_SHOWN)
        typer.echo(f"{count:,} {noun}{hidden}. Nothing was changed.")
        raise typer.Exit(FAULT_EXIT_CODE)
    typer.echo(
        f"{entries:,} entries checked: every balance, hold, sum and price follows from them."
    )


def _line_of(difference: Difference) -> str:
    return (
        f"{difference.organization_id}: {difference.kind}: {difference.what}: "
        f"stored {difference.stored}, derived {difference.derived}"
    )


def _tell_unreadable(console: Console, reason: str) -> NoReturn:
    console.print(f"The ledger cannot be read: {reason}", soft_wrap=True, markup=False)
    raise typer.Exit(UNREADABLE_EXIT_CODE)
