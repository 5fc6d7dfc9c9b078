"""What the groups share: options, where a node is found, how errors end.

A node is found by ``--node`` (a home of the devnet on this machine), else by ``--api``, else by ``--data-dir``; if
none of them says where, on the default data directory, else on the default port.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn, TypeVar

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from node.client.client import NodeClient

EXIT_DONE: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2
EXIT_BROKEN: Final = 3
EXIT_AWAY: Final = 4
EXIT_NOT_FINAL: Final = 5
EXIT_INTERRUPTED: Final = 130

MAX_SENTENCE: Final = 400
HELP_OPTIONS: Final = {"help_option_names": ["-h", "--help"]}

T = TypeVar("T")

Api = Annotated[
    str | None,
    typer.Option("--api", envvar="ECLOUD_API", metavar="URL", help="The node's API, like http://127.0.0.1:4080."),
]
DataDirectory = Annotated[
    Path | None,
    typer.Option("--data-dir", "-d", envvar="ECLOUD_DATA_DIR", metavar="DIR", help="The node's data directory."),
]
DevnetNode = Annotated[
    str | None,
    typer.Option("--node", metavar="HOME", help="A home of the devnet on this machine, like anne."),
]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: one JSON object on standard output.")]


class Where(NamedTuple):
    """What the options say of where the node is."""

    api: str | None
    data_directory: Path | None
    node: str | None


class HelpfulGroup(TyperGroup):
    """A group that shows its help when it is called without a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Each command's first sentence, whole."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._sentence(ctx, name)) for name in self.list_commands(ctx)])

    def _sentence(self, ctx: Any, name: str) -> str:
        command = self.get_command(ctx, name)
        assert command is not None
        sentence: str = command.get_short_help_str(MAX_SENTENCE)
        return sentence


def new_app(sentence: str) -> typer.Typer:
    """A group of commands. Its help is plain text: rich's takes longer to import than anyone waits for help."""
    app = typer.Typer(
        help=sentence, cls=HelpfulGroup, add_completion=False, rich_markup_mode=None, context_settings=HELP_OPTIONS
    )
    app.callback()(_no_options)  # so that a group of one command is a group
    return app


def _no_options() -> None:
    pass


def fail(message: str, status: int = EXIT_NO) -> NoReturn:
    """Ends the command with one line on standard error."""
    typer.echo(f"ecloud: {message}", err=True)
    raise typer.Exit(status)


def default_data_directory() -> Path:
    """Where a home's node lives if nothing else is said."""
    from platformdirs import user_data_path

    return user_data_path("ecloud", appauthor=False) / "node"


def connect(where: Where) -> NodeClient:
    """The node a command speaks to. Errors: NodeAway."""
    from node.client.client import NodeClient
    from node.client.errors import NodeAway

    if where.node is not None:
        return NodeClient.of_directory(devnet_home(where.node))
    if where.api is not None:
        return NodeClient(where.api)
    try:
        return NodeClient.of_directory(where.data_directory or default_data_directory())
    except NodeAway:
        if where.data_directory is not None:
            raise
        return NodeClient()


def ask(where: Where, question: Callable[[NodeClient], Awaitable[T]]) -> T:
    """Asks the node one thing; ends the command if it cannot answer."""
    from node.client.client import ask as ask_client

    with client_errors(where):
        return ask_client(connect(where), question)


@contextmanager
def client_errors(where: Where) -> Iterator[None]:
    """Turns what a node answers into the exit status and one line."""
    from node.client.errors import ApiProblem, ClientError, NodeAway, NotFinal
    from node.client.refusals import advice

    try:
        yield
    except NodeAway as error:
        if where.node is not None:
            fail(f"{where.node}'s node does not answer; see: ecloud devnet status", EXIT_AWAY)
        fail(f"{error}{_devnet_hint(where)}", EXIT_AWAY)
    except NotFinal as error:
        fail(str(error), EXIT_NOT_FINAL)
    except ApiProblem as error:
        if error.problem.refusal is None:
            fail(error.detail)
        way_out = advice(error.problem.refusal)
        fail(f"refused: {error}{'' if way_out is None else f'; {way_out}'}")
    except ClientError as error:
        fail(str(error))


def devnet_home(name: str) -> Path:
    """The data directory of a home of the devnet on this machine; ends the command if there is none."""
    from devnet.manifest import DevnetError, devnet_directory, load

    try:
        return Path(load(devnet_directory(None)).home(name).directory)
    except DevnetError as error:
        fail(str(error))


def _devnet_hint(where: Where) -> str:
    """For who asks for the node of this machine while it is a devnet that runs here."""
    if where != Where(None, None, None):
        return ""
    from devnet.manifest import DevnetError, devnet_directory, load

    try:
        manifest = load(devnet_directory(None))
    except (DevnetError, OSError):
        return ""  # this line is about the node that is away; a devnet is only a guess
    return f"; a devnet runs here: add --node {manifest.homes[0].name}" if manifest.is_running() else ""
