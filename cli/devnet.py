"""``ecloud devnet``: a whole neighbourhood on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import EXIT_USAGE, AsJson, fail, new_app
from cli.output import print_facts, print_json, print_table

if TYPE_CHECKING:
    from devnet.operations import NodeState

app = new_app("A whole neighbourhood on this machine: real nodes, real meters, real load profiles.")

Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory", envvar="ECLOUD_DEVNET", metavar="DIR", help="Where the devnet is; else in the user's state."
    ),
]
Program = Annotated[str, typer.Argument(metavar="NAME", help="A node, like bob, or its ecloud home, like bob.home.")]


@app.command()
def up(
    nodes: Annotated[int | None, typer.Option("--nodes", metavar="N", help="How many homes. [default: 4]")] = None,
    blocks: Annotated[
        int | None, typer.Option("--blocks", metavar="N", help="Stop by itself once every node has N final blocks.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            "--at",
            metavar="HEIGHT:ACTION:NAME",
            help="Have something happen at a block: kill, restart, pause or resume, like 10:kill:bob. May be repeated.",
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it runs; stop it with ecloud devnet down.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the chain that is there.")] = False,
    directory: Directory = None,
    json: Annotated[
        bool, typer.Option("--json", help="For programs: one JSON object at the end, nothing else on standard output.")
    ] = False,
) -> None:
    """Start a neighbourhood and watch it; Ctrl-C stops all of it.

    The homes are anne, bob, carla and george, who has the solar roof; more with --nodes. Each has a node of its own
    and an ecloud home: its meter signs real load profiles, a quarter of an hour of them every ten seconds.

    \b
    In another terminal:
      ecloud tui --node anne
      ecloud wallet send bob 1 WATT --node anne
      ecloud devnet kill bob
    """
    from devnet.up import up as run

    with _errors():
        status = run(nodes, blocks=blocks, json_output=json, detach=detach, directory=directory, at=at or (), keep=keep)
    raise typer.Exit(status)


@app.command()
def status(directory: Directory = None, json: AsJson = False) -> None:
    """Show the devnet's nodes and homes, and where each stands."""
    from devnet.operations import status as look

    with _errors():
        found = look(directory)
    if json:
        print_json(found)
        return
    halt = f", halts at block {found.halt_height}" if found.halt_height else ""
    print_facts([("devnet", found.directory), ("state", ("runs" if found.running else "does not run") + halt)])
    typer.echo()
    print_table(
        ["home", "node", "meter", "autopilot", ">orders", ">height", "tip", ">peers", ">pid", "API"],
        [_node_row(one) for one in found.nodes],
        empty="no homes",
    )


@app.command()
def logs(
    name: Program,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is still to come; Ctrl-C ends.")
    ] = False,
    directory: Directory = None,
) -> None:
    """Print the log of a node, or of a home."""
    from devnet.operations import logs as lines

    with _errors():
        for line in lines(name, follow=follow, directory=directory):
            typer.echo(line)


@app.command()
def kill(name: Program, directory: Directory = None) -> None:
    """End a node or a home at once, as a power cut would. The others go on."""
    from devnet.operations import kill as end

    with _errors():
        end(name, directory)
    typer.echo(f"{name} is down; start it again with: ecloud devnet restart {name}")


@app.command()
def restart(name: Program, directory: Directory = None) -> None:
    """Start a node or a home that is down, or stop and start one that runs."""
    from devnet.operations import restart as start_again

    with _errors():
        start_again(name, directory)
    typer.echo(f"{name} starts; it needs a few seconds to catch up: ecloud devnet status")


@app.command()
def pause(name: Program, directory: Directory = None) -> None:
    """Freeze a node or a home: it keeps its connections and says nothing."""
    from devnet.operations import pause as freeze

    with _errors():
        freeze(name, directory)
    typer.echo(f"{name} is paused; let it go on with: ecloud devnet resume {name}")


@app.command()
def resume(name: Program, directory: Directory = None) -> None:
    """Let a paused node or home go on."""
    from devnet.operations import resume as go_on

    with _errors():
        go_on(name, directory)
    typer.echo(f"{name} goes on")


@app.command()
def partition(
    parts: Annotated[
        list[str], typer.Argument(metavar="NAME,NAME...", help="The homes of each part. Who is not named is one more.")
    ],
    directory: Directory = None,
) -> None:
    """Cut the neighbourhood in parts that do not hear each other."""
    from devnet.experiments import partition as cut

    with _errors():
        made = cut(parts, directory)
    typer.echo(f"cut: {' | '.join(', '.join(part) for part in made)}; join them again with: ecloud devnet heal")


@app.command()
def heal(directory: Directory = None) -> None:
    """Join the parts again."""
    from devnet.experiments import heal as join

    with _errors():
        pairs = join(directory)
    typer.echo(f"healed: {pairs} pairs of nodes may speak again" if pairs else "nobody was cut off")


@app.command(context_settings={"ignore_unknown_options": True})
def clock_skew(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A home's node, like bob.")],
    milliseconds: Annotated[
        int, typer.Argument(metavar="MS", help="How far its clock is ahead, or behind if negative; 0 sets it right.")
    ],
    directory: Directory = None,
) -> None:
    """Set a node's clock wrong. The node is restarted with it."""
    from devnet.experiments import set_clock

    with _errors():
        set_clock(name, milliseconds, directory)
    typer.echo(f"{name} starts with its clock {milliseconds} ms off" if milliseconds else f"{name}'s clock is right")


@app.command()
def load(
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=0.1, max=10_000, help="Transfers a second.")] = 20,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", min=1, help="For how long; else until Ctrl-C.")
    ] = None,
    directory: Directory = None,
    json: AsJson = False,
) -> None:
    """Send transfers into the network, from every home."""
    from rich.console import Console

    from devnet.experiments import load as send

    with _errors(), Console(stderr=True).status("") as line:

        def note(count: int, elapsed_s: float) -> None:
            line.update(f"{count} transfers acknowledged in {elapsed_s:.0f} s; Ctrl-C ends")

        count, elapsed_s = send(rate, seconds or float("inf"), note, directory)
    if json:
        print_json({"acknowledged": count, "seconds": round(elapsed_s, 3)})
    else:
        typer.echo(f"{count} transfers acknowledged in {elapsed_s:.1f} s")


@app.command()
def down(directory: Directory = None) -> None:
    """Stop the devnet, whoever started it. Its chain stays, for ecloud devnet up --keep."""
    from devnet.operations import down as stop

    with _errors():
        stopped = stop(directory)
    forced = f", {stopped.forced} of them by force" if stopped.forced else ""
    typer.echo(f"stopped {stopped.programs} programs{forced}" if stopped.programs else "nothing was running")


@contextmanager
def _errors() -> Iterator[None]:
    from devnet.faults import BadFault
    from devnet.manifest import DevnetError

    try:
        yield
    except BadFault as error:
        fail(str(error), EXIT_USAGE)
    except DevnetError as error:
        fail(str(error))


def _node_row(one: NodeState) -> list[str]:
    from node.client.format import count

    return [
        one.name,
        one.state,
        one.home_state,
        "–" if one.autopilot is None or one.home_state == "down" else one.autopilot,
        "–" if one.open_orders is None else count(one.open_orders),
        "–" if one.height is None else count(one.height),
        "–" if one.tip is None else one.tip[:10],
        "–" if one.peers is None else count(one.peers),
        "–" if one.pid is None else str(one.pid),
        one.api_url,
    ]
