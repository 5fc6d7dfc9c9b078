"""What a home is told: ``home.toml`` in its directory, overridden by the environment, overridden by flags.

1. Every setting is a field below with its default, its bounds and its sentence of documentation; how they are read,
   checked and written is in ``node.settings``. In the environment a setting is called ``ECLOUD_HOME_<SECTION>_<KEY>``.
2. Paths that do not begin at the root are of the home's directory.
3. What holds between settings is checked once all are known (``checked``): a source has what it needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from home.autopilot import Limits
from home.profiles.archive import SAMPLES_PER_YEAR
from home.profiles.series import HOUSEHOLDS, MAX_PEAK_WATT, MAX_YEARLY_KWH, SOLAR_SYSTEMS, House
from node import settings
from node.client.format import parse_watt
from node.settings import ConfigurationError, setting

__all__ = ["FILE_NAME", "Configuration", "ConfigurationError", "checked", "load", "override", "parse", "render"]

FILE_NAME: Final = "home.toml"
PREFIX: Final = "ECLOUD_HOME"
TITLE: Final = "Settings of this home. Each can also be set by ECLOUD_HOME_<SECTION>_<KEY> in the environment."
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
SOURCES: Final = ("simulated", "p1", "signed")
BAUDS: Final = (9_600, 19_200, 38_400, 57_600, 115_200)
CABLES: Final = ("serial", "tcp", "file", "mqtt")
EMBEDDED: Final = "embedded"
OFF: Final = "off"
MAX_TOPIC_BYTES: Final = 128
TEMPLATES: Final = ("residential", "commercial")
HOURS_PER_DAY: Final = 24


@dataclass(frozen=True)
class NodeSettings:
    api: str = setting("", "URL of the home's node, like http://127.0.0.1:4080; empty: the node of directory")
    directory: str = setting("", "data directory of the home's node on this machine; empty: the user's own")


@dataclass(frozen=True)
class MeterSettings:
    source: str = setting(
        "simulated",
        "simulated: from load profiles; p1: telegrams of a DSMR meter; signed: readings by MQTT that the meter signs",
        choices=SOURCES,
    )
    key_file: str = setting("meter.key", "the meter's key; of a meter that signs, its public key in hexadecimal digits")


@dataclass(frozen=True)
class SimulatedSettings:
    household: int = setting(0, "load profile, of five", 0, len(HOUSEHOLDS) - 1)
    yearly_kwh: int = setting(3_500, "what the household consumes in a year", 1, MAX_YEARLY_KWH)
    solar: int = setting(-1, "solar profile, of eight; -1: no roof", -1, len(SOLAR_SYSTEMS) - 1)
    peak_watt: int = setting(0, "the roof's peak power", 0, MAX_PEAK_WATT)
    start_sample: int = setting(0, "quarter hour of the year at which the chain began", 0, SAMPLES_PER_YEAR - 1)


@dataclass(frozen=True)
class P1Settings:
    cable: str = setting(
        "serial:/dev/ttyUSB0", "where telegrams come from: serial:DEVICE, tcp:HOST:PORT, file:PATH, or mqtt"
    )
    baud: int = setting(
        115_200, "speed of a serial cable; meters before DSMR 4 have no checksum and are not read", 9_600, 115_200
    )
    equipment: str = setting("", "the meter's number as its telegrams have it (0-0:96.1.1); empty: any")
    max_age_s: int = setting(
        300, "telegrams whose own time is further away are refused; 0: it is not looked at", 0, 86_400
    )
    keep_every_s: int = setting(10, "a telegram is kept for proofs every so many seconds; 0: all are", 0, 300)
    keep_days: int = setting(14, "days for which telegrams are kept", 1, 3_650)


@dataclass(frozen=True)
class MqttSettings:
    broker: str = setting(EMBEDDED, "embedded: this program is the broker; HOST:PORT: another one; off: no MQTT")
    listen: str = setting("127.0.0.1:1883", "where the embedded broker listens; without a user on loopback only")
    user: str = setting("", "user at the broker; the embedded one takes no other")
    password_file: str = setting("", "file whose first line is the user's password")
    tls: bool = setting(False, "whether another broker is spoken to by TLS, with this machine's authorities")
    prefix: str = setting("ecloud/home", "what all topics begin with; one for each home that shares a broker")


@dataclass(frozen=True)
class WalletSettings:
    name: str = setting("", "the wallet that signs the home's orders; empty: the home only meters")
    directory: str = setting("", "where the wallets are; empty: the user's own")
    password_file: str = setting("", "file whose first line is its password; empty: $ECLOUD_PASSWORD, or it is asked")


@dataclass(frozen=True)
class AutopilotSettings:
    enabled: bool = setting(True, "whether the autopilot trades; it needs a wallet")
    may_buy: bool = setting(True, "whether it buys")
    may_sell: bool = setting(True, "whether it sells")
    max_buy_price: str = setting("", "the most it pays, WATT/kWh without grid fee, like 0.25; empty: up to retail")
    min_sell_price: str = setting("", "the least it sells at, WATT/kWh, like 0.12; empty: down to feed-in")
    max_energy_wh: int = setting(0, "the most it buys or sells for one period; 0: what it expects", 0, 10**9)
    hours: str = setting("0-23", "local hours of delivery in which it trades, like 6-21 or 0-5,9,17-23")
    horizon_periods: int = setting(4, "for how many of the next periods it places orders", 1, 96)
    yearly_kwh: int = setting(0, "what the household uses a year, for the first days; 0: not known", 0, MAX_YEARLY_KWH)


@dataclass(frozen=True)
class BreakerSettings:
    template: str = setting(
        "residential", "the order in which loads are shed is that of this kind of contract", choices=TEMPLATES
    )


@dataclass(frozen=True)
class LogSettings:
    level: str = setting("info", "debug, info, warning or error", choices=LOG_LEVELS)
    json: bool = setting(False, "one JSON object a line instead of text")


@dataclass(frozen=True)
class Configuration:
    node: NodeSettings = field(default_factory=NodeSettings)
    meter: MeterSettings = field(default_factory=MeterSettings)
    simulated: SimulatedSettings = field(default_factory=SimulatedSettings)
    p1: P1Settings = field(default_factory=P1Settings)
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    wallet: WalletSettings = field(default_factory=WalletSettings)
    autopilot: AutopilotSettings = field(default_factory=AutopilotSettings)
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    log: LogSettings = field(default_factory=LogSettings)


class Endpoint(NamedTuple):
    host: str
    port: int


def load(directory: Path, environment: Mapping[str, str] | None = None) -> Configuration:
    """Reads ``home.toml`` of a home's directory, if there is one, and the environment. Errors: ConfigurationError."""
    found = os.environ if environment is None else environment
    return checked(settings.load(Configuration, directory / FILE_NAME, found, PREFIX, _check), str(directory))


def parse(text: str, source: str = FILE_NAME) -> Configuration:
    """Checks a whole file. Errors: ConfigurationError."""
    return checked(settings.parse(Configuration, text, source, _check), source)


def override(configuration: Configuration, section: str, **values: Any) -> Configuration:
    """Applies flags; a value of None leaves what there is. Errors: ConfigurationError."""
    return checked(settings.override(configuration, section, values, _check), "with these flags")


def render(configuration: Configuration) -> str:
    """A complete, commented file."""
    return settings.render(configuration, TITLE)


def checked(configuration: Configuration, where: str) -> Configuration:
    """Rule 3. Errors: ConfigurationError."""
    mqtt, meter = configuration.mqtt, configuration.meter
    by_mqtt = meter.source == "signed" or (meter.source == "p1" and configuration.p1.cable == "mqtt")
    if by_mqtt and mqtt.broker == OFF:
        raise ConfigurationError(f"{where}: the meter speaks MQTT, and mqtt.broker is off; name a broker, or embedded")
    if bool(mqtt.user) != bool(mqtt.password_file):
        raise ConfigurationError(f"{where}: mqtt.user and mqtt.password_file belong together: set both, or neither")
    if mqtt.broker == EMBEDDED and not mqtt.user and not _is_loopback(endpoint(mqtt.listen).host):
        raise ConfigurationError(
            f"{where}: mqtt.listen = {mqtt.listen!r} is open to the house: set mqtt.user and mqtt.password_file, or "
            "listen on 127.0.0.1"
        )
    try:
        house_of(configuration)
    except ValueError as error:
        raise ConfigurationError(f"{where}: [simulated]: {error}") from error
    return configuration


def house_of(configuration: Configuration) -> House:
    """The simulated house. Errors: ValueError."""
    found = configuration.simulated
    solar = None if found.solar < 0 else found.solar
    return House(found.household, found.yearly_kwh, solar, found.peak_watt, found.start_sample)


def limits_of(configuration: Configuration) -> Limits:
    """What the owner allows the autopilot."""
    found = configuration.autopilot
    return Limits(
        enabled=found.enabled,
        max_buy_price=_price(found.max_buy_price),
        min_sell_price=_price(found.min_sell_price),
        max_energy_wh=found.max_energy_wh or None,
        hours=hours_of(found.hours),
        may_buy=found.may_buy,
        may_sell=found.may_sell,
        horizon_periods=found.horizon_periods,
    )


def hours_of(text: str) -> frozenset[int]:
    """``0-5,9``. Errors: ValueError."""
    hours: set[int] = set()
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,2})(?:-(\d{1,2}))?\s*", part)
        first = -1 if found is None else int(found[1])
        last = first if found is None or found[2] is None else int(found[2])
        if not 0 <= first <= last < HOURS_PER_DAY:
            raise ValueError(f"{text!r} are no hours of a day, like 6-21 or 0-5,9,17-23")
        hours.update(range(first, last + 1))
    return frozenset(hours)


def _price(text: str) -> int | None:
    """uwatt per kWh. Errors: ValueError."""
    return parse_watt(text) if text else None


def endpoint(text: str) -> Endpoint:
    """``HOST:PORT``, an IPv6 address in brackets. Errors: ValueError."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Endpoint(host, int(port))


def _check(key: str, value: Any, where: str) -> None:
    try:
        if key == "cable":
            _check_cable(value)
        elif key == "listen" or (key == "broker" and value not in {EMBEDDED, OFF}):
            endpoint(value)
        elif key == "prefix":
            _check_topic(value)
        elif key == "hours":
            hours_of(value)
        elif key in {"max_buy_price", "min_sell_price"}:
            _price(value)
        elif key == "baud" and value not in BAUDS:
            raise ValueError(f"there are {', '.join(map(str, BAUDS))}")  # noqa: TRY301 - told like the others
        elif key == "api" and value and not value.startswith(("http://127.", "http://localhost", "http://[::1]")):
            raise ValueError(f"{value!r} is no URL on this machine, like http://127.0.0.1:4080")  # noqa: TRY301 - as above
    except ValueError as error:
        raise ConfigurationError(f"{where}: {key}: {error}") from error


def _check_cable(text: str) -> None:
    """Errors: ValueError."""
    kind, _, rest = text.partition(":")
    if kind not in CABLES or bool(rest) == (kind == "mqtt"):
        raise ValueError(f"{text!r} is none of serial:DEVICE, tcp:HOST:PORT, file:PATH, mqtt")
    if kind == "tcp":
        endpoint(rest)


def _check_topic(text: str) -> None:
    """Errors: ValueError."""
    if not text or len(text.encode()) > MAX_TOPIC_BYTES or set(text) & set("+#\0") or text.strip("/") != text:
        raise ValueError(f"{text!r} is no beginning of a topic, like ecloud/home: no +, no #, no / at its ends")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
