"""What the groups share: where a node is found, how results are shown, how errors end."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from node.client import NodeClient

EXIT_NO: Final = 1
EXIT_USAGE: Final = 2
EXIT_BROKEN: Final = 3
EXIT_AWAY: Final = 4

T = TypeVar("T")

Api = Annotated[
    str | None,
    typer.Option("--api", envvar="ECLOUD_API", help="The node's API, for instance http://127.0.0.1:4080."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object on standard output.")]


def default_data_directory() -> Path:
    """Where a home's node lives if nothing else is said."""
    from platformdirs import user_data_path

    return user_data_path("ecloud") / "node"


def fail(message: str, status: int = EXIT_NO) -> NoReturn:
    """Ends the command with one line on standard error."""
    typer.echo(f"ecloud: {message}", err=True)
    raise typer.Exit(status)


def new_app(sentence: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        help=sentence,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def connect(api: str | None, data_directory: Path | None = None) -> NodeClient:
    """The node a command speaks to: by ``--api``, else the one on the data directory, else on the default port."""
    from node.client import NodeAway, NodeClient

    if api is not None:
        return NodeClient(api)
    directory = data_directory or default_data_directory()
    try:
        return NodeClient.of_directory(directory)
    except NodeAway:
        if data_directory is not None:
            raise
        return NodeClient()


def ask(api: str | None, question: Callable[[NodeClient], Awaitable[T]], data_directory: Path | None = None) -> T:
    """Asks the node one thing; ends the command if it cannot answer."""
    from node.client import ask as ask_client

    with client_errors():
        return ask_client(connect(api, data_directory), question)


@contextmanager
def client_errors() -> Iterator[None]:
    """Turns what a node answers into the exit status and one line."""
    from node.client import ApiProblem, ClientError, NodeAway

    try:
        yield
    except NodeAway as error:
        fail(str(error), EXIT_AWAY)
    except ApiProblem as error:
        fail(f"refused: {error}")
    except ClientError as error:
        fail(str(error))


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
