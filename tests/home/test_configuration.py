"""What a home is told: a whole file with every setting explained, or one line that says what is wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from home.configuration import (
    Configuration,
    ConfigurationError,
    endpoint,
    hours_of,
    house_of,
    limits_of,
    load,
    override,
    parse,
    render,
)


def test_the_rendered_file_has_every_setting_and_reads_back_the_same() -> None:
    text = render(Configuration())
    for section in fields(Configuration()):
        settings = getattr(Configuration(), section.name)
        for setting in fields(settings):
            assert f"# {setting.metadata['about']}\n{setting.name} = " in text
    assert parse(text) == Configuration()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[meter]\nsource = 'roof'", "line 2: source = 'roof'; there are simulated, p1, signed"),
        ("[mter]\n", "line 1: no section [mter]"),
        ("[p1]\nbaud = 300", "line 2: baud = 300 is outside"),
        ("[p1]\nbaud = 10000", "line 2: baud: there are 9600"),
        ("[p1]\ncable = 'usb'", "none of serial:DEVICE, tcp:HOST:PORT"),
        ("[p1]\ncable = 'serial:'", "none of serial:DEVICE"),
        ("[p1]\ncable = 'mqtt:x'", "none of serial:DEVICE"),
        ("[p1]\n\ncable = 'tcp:nowhere'", "line 3: cable: 'nowhere' is not HOST:PORT"),
        ("[mqtt]\nbroker = 'mosquitto'", "is not HOST:PORT"),
        ("[mqtt]\nbroker = 'a:70000'", "is not HOST:PORT"),
        ("[mqtt]\nprefix = 'home/#'", "no beginning of a topic"),
        ("[mqtt]\nprefix = '/home'", "no beginning of a topic"),
        ("[mqtt]\nlisten = '0.0.0.0:1883'", "open to the house"),
        ("[mqtt]\nuser = 'anne'", "belong together"),
        ("[mqtt]\nbroker = 'off'\n[meter]\nsource = 'signed'", "mqtt.broker is off"),
        ("[mqtt]\nbroker = 'off'\n[meter]\nsource = 'p1'\n[p1]\ncable = 'mqtt'", "mqtt.broker is off"),
        ("[node]\napi = 'http://192.168.1.4:4080'", "no URL on this machine"),
        ("[simulated]\nsolar = 1", "[simulated]: a house has both"),
        ("[autopilot]\nhours = '6-25'", "no hours of a day"),
        ("[autopilot]\nhours = '9-6'", "no hours of a day"),
        ("[autopilot]\nmax_buy_price = 'cheap'", "line 2: max_buy_price"),
        ("[autopilot]\nmax_buy_price = 0.25", "expected a text in quotes"),
        ("[autopilot]\nhorizon_periods = 0", "outside 1 … 96"),
        ("[breaker]\ntemplate = 'farm'", "there are residential, commercial"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(text)
    assert words in str(error.value)


def test_the_environment_overrides_the_file_and_a_flag_both(tmp_path: Path) -> None:
    (tmp_path / "home.toml").write_text("[mqtt]\nbroker = '10.0.0.1:1883'\nprefix = 'a'\n")
    found = load(tmp_path, {"ECLOUD_HOME_MQTT_BROKER": "10.0.0.2:1883"})
    assert (found.mqtt.broker, found.mqtt.prefix) == ("10.0.0.2:1883", "a")
    assert override(found, "mqtt", broker="off", prefix=None).mqtt.broker == "off"
    with pytest.raises(ConfigurationError, match="ECLOUD_HOME_MQTT_BROCKER"):
        load(tmp_path, {"ECLOUD_HOME_MQTT_BROCKER": "x"})


def test_a_home_with_a_password_may_listen_to_the_house() -> None:
    found = parse("[mqtt]\nlisten = '0.0.0.0:1883'\nuser = 'anne'\npassword_file = 'mqtt.password'")
    assert found.mqtt.user == "anne"


def test_the_owners_limits() -> None:
    text = "[autopilot]\nmax_buy_price = '0.25'\nmin_sell_price = '0.12'\nhours = '0-2, 9,22-23'\nmay_sell = false\n"
    limits = limits_of(parse(text + "max_energy_wh = 500"))
    assert (limits.max_buy_price, limits.min_sell_price, limits.max_energy_wh) == (250_000, 120_000, 500)
    assert limits.hours == {0, 1, 2, 9, 22, 23}
    assert (limits.may_buy, limits.may_sell, limits.horizon_periods) == (True, False, 4)
    assert limits_of(Configuration()).hours == hours_of("0-23") == frozenset(range(24))
    assert limits_of(Configuration()).max_energy_wh is None


def test_the_simulated_house() -> None:
    found = house_of(parse("[simulated]\nsolar = 2\npeak_watt = 9000"))
    assert (found.solar, found.peak_watt) == (2, 9_000)
    assert house_of(Configuration()).solar is None


def test_an_address_of_version_six_stands_in_brackets() -> None:
    assert endpoint("[::1]:1883") == ("::1", 1883)
    assert endpoint("broker.home:1883") == ("broker.home", 1883)
