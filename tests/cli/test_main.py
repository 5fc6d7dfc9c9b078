"""The command as a whole: what there is, what it costs to ask, how it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli import main
from tests.cli.running import PROGRAM, ROOT, clean_environment, on_terminal, refused, run, run_process

COMMANDS = [
    "bill explain",
    "bill export",
    "bill list",
    "bill pay",
    "bill prepare",
    "bill record",
    "bill show",
    "chain block",
    "chain check",
    "chain committee",
    "chain evidence",
    "chain prove",
    "chain transaction",
    "chain verify",
    "contract attest",
    "contract end",
    "contract list",
    "contract offer",
    "contract price",
    "contract show",
    "contract subscribe",
    "contract templates",
    "devnet clock-skew",
    "devnet down",
    "devnet heal",
    "devnet kill",
    "devnet load",
    "devnet logs",
    "devnet partition",
    "devnet pause",
    "devnet restart",
    "devnet resume",
    "devnet status",
    "devnet up",
    "energy meters",
    "energy pool join",
    "energy pool leave",
    "energy pool list",
    "energy pool open",
    "energy pool rule",
    "energy pool show",
    "energy readings",
    "home init",
    "home prove",
    "home run",
    "home status",
    "join",
    "lab chaos",
    "lab neighbourhood",
    "lab voting",
    "network deny",
    "network grant",
    "network invite",
    "network new",
    "network requests",
    "network show",
    "node backup",
    "node ban",
    "node check",
    "node init",
    "node pardon",
    "node peers",
    "node run",
    "node status",
    "order book",
    "order buy",
    "order cancel",
    "order list",
    "order periods",
    "order quote",
    "order sell",
    "order trades",
    "tui",
    "vote candidates",
    "vote cast",
    "vote rule",
    "vote show",
    "vote withdraw",
    "wallet create",
    "wallet export",
    "wallet import",
    "wallet list",
    "wallet send",
    "wallet show",
]

HEAVY = ("rich", "httpx", "trio", "libp2p", "nacl", "msgspec", "textual", "fastapi", "lmdb")


def all_commands() -> list[str]:
    root: Any = get_command(main.app)
    return sorted(found for name in root.list_commands(None) for found in _inside(name, root.get_command(None, name)))


def _inside(name: str, command: Any) -> list[str]:
    """A command's own name, or those of all in a group."""
    if not hasattr(command, "commands"):
        return [name]
    return [found for inner, one in command.commands.items() for found in _inside(f"{name} {inner}", one)]


def test_the_commands_there_are() -> None:
    assert all_commands() == COMMANDS


@pytest.mark.parametrize("command", [*COMMANDS, *main.GROUPS, ""])
def test_every_help_stands_alone(command: str) -> None:
    shown = run(*command.split(), "--help").stdout
    assert shown.startswith(f"Usage: ecloud {command}".rstrip())
    assert shown.split("\n\n")[1].strip()[0].isupper()
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert run(*command.split(), "-h").stdout == shown


@pytest.mark.parametrize("command", ["chain", "devnet", "energy", "lab", "node", "vote", "wallet", ""])
def test_a_group_without_a_command_shows_its_help(command: str) -> None:
    result = run(*command.split(), status=2)
    assert result.stdout == ""
    assert result.stderr == run(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["walet"], "No such command 'walet'. Did you mean 'wallet'?; see: ecloud --help"),
        (["wallet", "snd"], "No such command 'snd'. Did you mean 'send'?; see: ecloud wallet --help"),
        (["wallet", "send", "bob"], "Missing argument 'AMOUNT TOKEN'; see: ecloud wallet send --help"),
        (["chain", "block", "--colour"], "No such option: --colour; see: ecloud chain block --help"),
        (["devnet", "up", "--nodes", "four"], "Invalid value for '--nodes': "),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], says: str) -> None:
    assert says in refused(*arguments, status=2)


def test_help_imports_nothing_that_is_slow(tmp_path: Path) -> None:
    """Given a fresh interpreter, When help or completion is asked for, Then no heavy module is loaded."""
    program = (
        "import sys\n"
        "from cli.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"found = sorted(name for name in sys.modules if name.split('.')[0] in {HEAVY!r})\n"
        "assert not found, found\n"
        "print('light')\n"
    )
    for arguments in (["--help"], ["wallet", "--help"], ["chain", "verify", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env=clean_environment(tmp_path),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.endswith("light\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ecloud ", list(main.GROUPS)),
        ("ecloud w", ["wallet"]),
        ("ecloud wallet ", ["create", "list", "show", "send", "import", "export"]),
        ("ecloud devnet re", ["restart", "resume"]),
        ("ecloud chain verify --j", ["--json"]),
    ],
)
def test_the_shell_completes_groups_and_commands(tmp_path: Path, words: str, expected: list[str]) -> None:
    place = str(len(words.split(" ")) - 1)
    completing = {"_ECLOUD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": place}
    program = "from cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean_environment(tmp_path), **completing},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert sorted(done.stdout.split()) == sorted(expected), done.stderr


def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """Given a reader that takes nothing, When a command writes, Then neither traceback nor complaint."""
    process = subprocess.Popen(
        [*PROGRAM, "lab", "voting", "--blocks", "3", "--json"],
        env=clean_environment(tmp_path),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


def test_control_c_ends_it_quietly(tmp_path: Path) -> None:
    status, shown = on_terminal(["wallet", "export", "savings"], [("Password", "\x03")], tmp_path, _a_wallet(tmp_path))
    assert status in {1, 130}
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    "interruption",
    [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt(), BaseExceptionGroup("", [KeyboardInterrupt()])])],
)
def test_an_interruption_inside_concurrent_work_is_one(interruption: BaseException) -> None:
    def command() -> None:
        raise interruption

    assert main._status_of(command) == 130


def test_what_nobody_foresaw_is_not_hidden_behind_an_interruption() -> None:
    def command() -> None:
        raise BaseExceptionGroup("", [KeyboardInterrupt(), ZeroDivisionError()])

    with pytest.raises(BaseExceptionGroup):
        main._status_of(command)


def test_the_version_is_the_distributions(tmp_path: Path) -> None:
    assert run_process("--version", home=tmp_path).stdout.startswith("ecloud 0.")


def _a_wallet(directory: Path) -> dict[str, str]:
    from node.keystore import CHEAP, Keystore

    Keystore(directory / "wallets").create("savings", "secret", CHEAP)
    return {"ECLOUD_WALLETS": str(directory / "wallets")}
