"""``ecloud home``: what stands behind the front door: the meter, MQTT, and the autopilot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.common import EXIT_USAGE, AsJson, default_data_directory, fail, new_app
from cli.output import moment, print_facts, print_json

if TYPE_CHECKING:
    from home.configuration import Configuration
    from home.status import HomeStatus
    from ledger.keys import SigningKey
    from node.client.client import NodeClient

app = new_app("What stands behind the front door: the meter, MQTT, and the autopilot.")

METER_KEY_NAME: Final = "meter.key"

Directory = Annotated[
    Path | None,
    typer.Option(
        "--directory", "-D", envvar="ECLOUD_HOME", metavar="DIR", help="The home's directory; else the user's own."
    ),
]
Api = Annotated[str | None, typer.Option("--api", metavar="URL", help="The home's node, like http://127.0.0.1:4080.")]
NodeDirectory = Annotated[
    Path | None, typer.Option("--data-dir", "-d", metavar="DIR", help="The data directory of the home's node.")
]
Source = Annotated[
    str | None, typer.Option("--source", metavar="KIND", help="The meter: simulated, p1, or signed (by MQTT).")
]
Cable = Annotated[
    str | None,
    typer.Option("--cable", metavar="WHERE", help="Of a p1 meter: serial:DEVICE, tcp:HOST:PORT, file:PATH, or mqtt."),
]
BrokerPlace = Annotated[
    str | None, typer.Option("--broker", metavar="WHERE", help="The MQTT broker: HOST:PORT, embedded, or off.")
]
WalletName = Annotated[
    str | None, typer.Option("--wallet", "-w", metavar="NAME", help="The wallet that signs the home's orders.")
]


def default_home_directory() -> Path:
    from platformdirs import user_data_path

    return user_data_path("ecloud", appauthor=False) / "home"


@app.command()
def init(
    directory: Directory = None,
    api: Api = None,
    data_dir: NodeDirectory = None,
    source: Source = None,
    cable: Cable = None,
    broker: BrokerPlace = None,
    wallet: WalletName = None,
    json: AsJson = False,
) -> None:
    """Make a home's directory: settings, and a key for its meter unless its node's directory has one.

    Nothing that is there is overwritten. Every setting is explained in home.toml, and can be set by
    ECLOUD_HOME_SECTION_KEY in the environment as well.
    """
    from home.configuration import FILE_NAME, Configuration, ConfigurationError, override, render
    from ledger.keys import SigningKey
    from node.key_files import KeyFileError, load_or_create_seed, make_private_directory

    place = directory or default_home_directory()
    node_key = (data_dir or default_data_directory()) / METER_KEY_NAME
    key_file = str(node_key.absolute()) if node_key.exists() and source != "signed" else METER_KEY_NAME
    try:
        configuration = override(
            Configuration(), "node", api=api, directory=None if data_dir is None else str(data_dir.absolute())
        )
        configuration = override(configuration, "mqtt", broker=broker)
        configuration = override(configuration, "p1", cable=cable)
        configuration = override(configuration, "meter", source=source, key_file=key_file)
        configuration = override(configuration, "wallet", name=wallet)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    file = place / FILE_NAME
    try:
        make_private_directory(place)
        with file.open("x", encoding="utf-8") as out:
            out.write(render(configuration))
        meter = None
        if configuration.meter.source != "signed":
            meter = SigningKey(load_or_create_seed(place / key_file)).public_key.hex()
    except FileExistsError:
        fail(f"{file} is there already; change it there, or name another --directory")
    except (KeyFileError, OSError) as error:
        fail(str(error))
    if json:
        print_json({"directory": str(place), "settings": str(file), "meter": meter})
        return
    key = f"write its public key into {place / key_file}" if meter is None else meter
    print_facts(
        [("directory", str(place)), ("settings", str(file)), ("meter's key", key), ("start it with", _run(place))]
    )


@app.command()
def run(
    directory: Directory = None,
    api: Api = None,
    source: Source = None,
    cable: Cable = None,
    broker: BrokerPlace = None,
    wallet: WalletName = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    json: Annotated[bool | None, typer.Option("--json", help="The log for programs: one JSON object a line.")] = None,
) -> None:
    """Read the meter, bring its readings to the chain, and trade, until told to stop (SIGTERM, or Ctrl-C).

    One line for each period says what was read and what was done. An absence of the node, the network or the broker
    loses no reading: they wait on the disk. With a wallet the autopilot trades, inside the limits of home.toml.
    """
    from home.configuration import ConfigurationError, load, override
    from home.run import HomeSettings, run_home
    from node import log

    place = directory or default_home_directory()
    if not place.is_dir():
        fail(f"there is no home in {place}; make one with: ecloud home init", EXIT_USAGE)
    try:
        configuration = load(place)
        configuration = override(configuration, "node", api=api)
        configuration = override(configuration, "mqtt", broker=broker)
        configuration = override(configuration, "p1", cable=cable)
        configuration = override(configuration, "meter", source=source)
        configuration = override(configuration, "wallet", name=wallet)
        configuration = override(configuration, "log", level=log_level, json=json)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    log.configure(configuration.log.level, configuration.log.json)
    settings = HomeSettings(place, configuration, lambda: _client(configuration), _unlock(configuration, place))
    reasons = run_home(settings)
    if reasons:
        fail("; ".join(reasons), EXIT_USAGE)


@app.command()
def status(directory: Directory = None, json: AsJson = False) -> None:
    """Show what a home's program says of itself: meter, queue, MQTT, breaker, autopilot."""
    from home.delivery import QUEUE_NAME
    from home.status import is_running, read_status

    place = directory or default_home_directory()
    running = is_running(place / QUEUE_NAME)
    found = read_status(place)
    if json:
        print_json({"directory": str(place), "running": running, "home": found})
        return
    if found is None:
        fail(f"no home has run in {place}; start it with: {_run(place)}")
    print_facts(_facts(place, running, found))


@app.command()
def prove(
    period: Annotated[int, typer.Argument(metavar="PERIOD", help="The number of a period, as ecloud energy shows it.")],
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", help="Which telegram of the period; -1 the one that was latched.")
    ] = -1,
    directory: Directory = None,
    json: AsJson = False,
) -> None:
    """Prove one telegram of a P1 meter: that it is under the samples_root of the period's signed reading."""
    from home.samples import SampleStore
    from home.telegram_meter import SAMPLES_DIRECTORY

    samples = (directory or default_home_directory()) / SAMPLES_DIRECTORY
    if not samples.is_dir():
        fail(f"there is no {samples}: only a home with a P1 meter keeps telegrams")
    store = SampleStore(samples)
    try:
        size = len(store.read(period))
        proof = store.prove(period, sample if sample >= 0 else size + sample)
    except IndexError as error:
        fail(str(error))
    facts: dict[str, Any] = {
        "period": period,
        "index": proof.index,
        "size": proof.size,
        "time_ms": proof.time_ms,
        "samples_root": proof.root.hex(),
        "proof": [one.hex() for one in proof.proof],
        "telegram": proof.telegram.decode("ascii", "replace"),
    }
    assert proof.holds()
    if json:
        print_json(facts)
        return
    print_facts(
        [
            ("telegram", f"number {proof.index} of {proof.size} in period {period}, come {moment(proof.time_ms)}"),
            ("samples_root", facts["samples_root"]),
            ("proof", "\n".join(facts["proof"]) or "none needed: it is the only one"),
        ]
    )
    typer.echo()
    typer.echo(facts["telegram"].replace("\r", ""))


def _client(configuration: Configuration) -> NodeClient:
    """Whatever the node's state: a home starts before its node."""
    from node.client.client import NodeClient
    from node.client.connection import SOCKET_NAME
    from node.client.errors import NodeAway

    if configuration.node.api:
        return NodeClient(configuration.node.api)
    named = configuration.node.directory
    directory = Path(named) if named else default_data_directory()
    try:
        return NodeClient.of_directory(directory)
    except NodeAway:
        return NodeClient(unix_socket=directory / SOCKET_NAME) if named else NodeClient()


def _unlock(configuration: Configuration, place: Path) -> SigningKey | None:
    """The wallet's key, if one is named; ends the command on a wrong password."""
    from cli.signing import read_password
    from ledger.keys import SigningKey
    from node.key_files import KeyFileError
    from node.keystore import Keystore

    told = configuration.wallet
    if not told.name:
        return None
    keystore = Keystore(place / told.directory if told.directory else None)
    password_file = str(place / told.password_file) if told.password_file else None
    password = read_password(password_file, f"Password of the wallet {told.name}")
    try:
        return SigningKey(keystore.unlock(told.name, password))
    except KeyFileError as error:
        fail(str(error))


def _facts(place: Path, running: bool, found: HomeStatus) -> list[tuple[str, str]]:
    from node.client.format import count, duration, energy

    registers = "no reading yet"
    if found.import_wh is not None and found.export_wh is not None:
        registers = f"{energy(found.import_wh)} taken in, {energy(found.export_wh)} fed in"
    refused = ", ".join(f"{number} {word}" for word, number in sorted(found.refused.items()))
    ran = duration(found.now_ms - found.started_at_ms)
    mqtt = "" if found.mqtt == "off" else ": connected" if found.mqtt_connected else ": is away"
    rows = [
        ("home", f"{place}\n{'runs' if running else 'does not run'}"),
        ("started", f"{moment(found.started_at_ms)}, {ran} before it last spoke"),
        ("meter", found.meter),
        ("source", f"{found.source}: {'readings come' if found.source_works else 'nothing comes'}"),
        ("registers", registers),
        ("last reading", f"period {found.last_taken}, until {moment(found.last_taken_end_ms)}"),
        ("waiting", f"{count(found.waiting)} readings"),
        ("node", f"{found.node}: {'answers' if found.node_answers else 'is away'}"),
        ("MQTT", found.mqtt + mqtt),
        ("breaker", ("open: " if found.breaker_open else "closed: ") + found.breaker_reason),
        ("autopilot", found.autopilot),
    ]
    if refused:
        rows.insert(5, ("refused", refused))
    if found.missed:
        rows.insert(5, ("missed", f"{count(found.missed)} periods without a telegram near their end"))
    if found.shed:
        rows.append(("switch off", ", ".join(found.shed)))
    if found.last_actions:
        rows.append(("did", "\n".join(found.last_actions)))
    return rows


def _run(place: Path) -> str:
    return f"ecloud home run --directory {place}"
