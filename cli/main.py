"""The command ``ecloud``: a thin shell over the rooms below.

1. Groups are imported when they are called, so that ``ecloud --help`` and shell completion answer at once.
2. Results go to standard output, everything else to standard error: questions, progress, warnings, errors.
3. An error is one line, ``ecloud: …``, that says what to do. Only what nobody foresaw has a traceback.
4. Ctrl-C, and a reader of standard output that leaves early, end a command without a word.

Exit status: 0 done; 1 the answer is no (something was found wrong, refused, or not there); 2 wrong usage or
configuration, or it cannot be started; 3 the node stopped itself because something that must hold does not; 4 the node
is away; 5 handed over, but not final in time; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from cli.common import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NO, EXIT_USAGE, HELP_OPTIONS, HelpfulGroup

GROUPS: Final[dict[str, tuple[str, str]]] = {
    "node": ("cli.node", "Make, run and look after a node."),
    "network": ("cli.network", "Found a network, invite to it, and say who joins."),
    "join": ("cli.join", "Join a network with an invite: keys, node, membership."),
    "wallet": ("cli.wallet", "Keys, balances, and sending tokens."),
    "vote": ("cli.vote", "Voting tokens: whom they are cast on, and the rule for new ones."),
    "order": ("cli.order", "The market: buy and sell energy, books, trades, your orders."),
    "energy": ("cli.energy", "Meters and their readings, and sharing pools."),
    "contract": ("cli.contract", "Contracts between neighbours: offer energy, subscribe, and what was delivered."),
    "bill": ("cli.bill", "Bills: what energy cost and earned, and what is left to pay."),
    "home": ("cli.home", "What stands behind the front door: the meter, MQTT, and the autopilot."),
    "chain": ("cli.chain", "Blocks and transactions; verify a chain, prove and check an account."),
    "devnet": ("cli.devnet", "A whole neighbourhood on this machine."),
    "lab": ("cli.lab", "The laboratory: experiments in virtual time."),
    "tui": ("cli.tui", "The terminal: watch a node, its chain and its elections, and use a wallet."),
}

EXIT_STATUS: Final = """\b
Exit status:
  0  done
  1  the answer is no: something was found wrong, refused, or not there
  2  wrong usage or configuration, or it cannot be started
  3  the node stopped itself because something that must hold does not
  4  the node is away
  5  handed over, but not final in time
"""


class LazyGroup(HelpfulGroup):
    """Knows its groups by name and sentence; imports one when it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        names: Any = dict.fromkeys(GROUPS)
        self.commands = names  # only to ask whether one of them was meant: no command is taken from here

    def list_commands(self, ctx: Any) -> list[str]:
        return list(GROUPS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in GROUPS:
            return None
        command = get_command(import_module(GROUPS[cmd_name][0]).app)
        command.name = cmd_name
        return command

    def _sentence(self, ctx: Any, name: str) -> str:
        return GROUPS[name][1]

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Runs a command line and ends the program, always, with one of the statuses above."""
        command = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        sys.exit(_status_of(command))


def _status_of(command: Callable[[], Any]) -> int:
    """Runs the command; whatever it says is written when this returns."""
    try:
        status = command()
        sys.stdout.flush()
    except typer.TyperException as error:
        typer.echo(_usage_line(error), err=True)
        return EXIT_USAGE
    except typer.Abort:
        typer.echo("ecloud: nothing was done", err=True)
        return EXIT_NO
    except BrokenPipeError:
        _close_output()
        return EXIT_NO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return EXIT_INTERRUPTED
    return status if isinstance(status, int) else EXIT_DONE


def _usage_line(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    sentence = " ".join(error.format_message().split()).rstrip(".")
    return f"ecloud: {sentence}; see: {'ecloud' if context is None else context.command_path} --help"


def _close_output() -> None:
    """What is still to be written goes nowhere, so that the interpreter's end does not try again and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


app = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    epilog=EXIT_STATUS,
    context_settings=HELP_OPTIONS,
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
