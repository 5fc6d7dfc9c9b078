"""The command ``ecloud``: a thin shell over the rooms below.

Groups are imported when they are called, so that ``ecloud --help`` and shell completion answer at once.

Exit status: 0 done; 1 the answer is no (something was found wrong, refused, or not there); 2 wrong usage or
configuration, or it cannot be started; 3 the node stopped itself because something that must hold does not; 4 the node
is away.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

GROUPS: Final[dict[str, tuple[str, str]]] = {
    "node": ("cli.node", "Make, run and look after a node."),
    "wallet": ("cli.wallet", "Keys, balances, and sending tokens."),
    "vote": ("cli.vote", "Voting tokens: whom they are cast on, and the rule for new ones."),
    "energy": ("cli.energy", "Meters and their readings."),
    "chain": ("cli.chain", "Blocks and transactions; verify a chain, prove and check an account."),
    "devnet": ("cli.devnet", "A whole neighbourhood on this machine."),
    "lab": ("cli.lab", "The laboratory: experiments in virtual time."),
    "tui": ("cli.tui", "The terminal."),
}


class LazyGroup(TyperGroup):
    """Knows its groups by name and sentence; imports one when it is called.

    Its own help is plain text: rich's Markdown and lexers alone take longer to import than anyone waits for help.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return None
        command = get_command(import_module(GROUPS[cmd_name][0]).app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in GROUPS.items()])


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ecloud {version('ecloud')}")
        raise typer.Exit


@app.callback()
def ecloud(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """A neighbourhood's own electricity market, with no operator in the middle.

    To see one run on this machine:  ecloud devnet up
    """


def main() -> None:
    """The entry point of ``ecloud``."""
    app(prog_name="ecloud")


if __name__ == "__main__":
    main()
