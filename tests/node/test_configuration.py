"""The settings: the file, the environment, flags, and what is said of a wrong one."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.configuration import (
    LOG_LEVELS,
    ApiSettings,
    Configuration,
    ConfigurationError,
    LogSettings,
    NetworkSettings,
    NodeSettings,
    load,
    override,
    parse,
    render,
    with_environment,
)
from p2p.peer_identity import peer_id_from_public_key
from tests.support.chain import make_home

PEER = peer_id_from_public_key(make_home("bob").node.public_key)
BOOTSTRAP = f"/dns4/bob.example.org/tcp/4001/p2p/{PEER}"

WRONG = {
    "not TOML": ("[network\n", "line 1", "not TOML"),
    "an unknown section": ("\n[netwrk]\n", "line 2", "there are network, api, node, storage, sync, log"),
    "a setting outside any section": ("max_peers = 3\n", "line 1", "no section [max_peers]"),
    "a section that is a value": ("# hello\nnetwork = 3\n", "line 2", "write [network]"),
    "an unknown setting": ("[node]\nhalt_heigt = 3\n", "line 2", "there are mempool_bytes, clock_skew_ms, halt_height"),
    "a setting of another section": ("[api]\nport = 1\n\n[log]\nport = 2\n", "line 5", "there are level, json"),
    "a text for a number": ('[network]\n\nmax_peers = "many"\n', "line 3", "a whole number, for instance 48"),
    "a fraction": ("[network]\nmax_peers = 4.5\n", "line 2", "a whole number"),
    "true for a number": ("[network]\nmax_peers = true\n", "line 2", "a whole number"),
    "a number for a text": ("[log]\nlevel = 3\n", "line 2", "a text in quotes"),
    "a number for true or false": ("[log]\njson = 1\n", "line 2", "true or false"),
    "a text for a list": ('[network]\nlisten = "/ip4/127.0.0.1/tcp/1"\n', "line 2", "a list of texts"),
    "a list of numbers": ("[network]\nlisten = [1]\n", "line 2", "a list of texts"),
    "too few": ("[network]\nmax_peers = 0\n", "line 2", "1 … 1000"),
    "too many": ("[network]\nmax_peers = 1001\n", "line 2", "1 … 1000"),
    "no port": ("[api]\nport = 65536\n", "line 2", "0 … 65535"),
    "an unknown level": ('[log]\nlevel = "loud"\n', "line 2", "debug, info, warning, error"),
    "an API for everybody": ('[api]\nhost = "0.0.0.0"\n', "line 2", "127.0.0.1 or ::1"),
    "an API on a name": ('[api]\nhost = "home.example.org"\n', "line 2", "127.0.0.1 or ::1"),
    "no multiaddr": ('[network]\nlisten = ["localhost:4001"]\n', "line 2", "/ip4/192.168.1.20/tcp/4001"),
    "a port too high": ('[network]\nlisten = ["/ip4/127.0.0.1/tcp/65536"]\n', "line 2", "is not a multiaddr"),
    "a line break in a multiaddr": ('[network]\nlisten = ["/ip4/1.2.3.4/tcp/1\\n"]\n', "line 2", "is not a multiaddr"),
    "no IPv4 address": ('[network]\nlisten = ["/ip4/1.2.3.400/tcp/1"]\n', "line 2", "is not a multiaddr"),
    "a listening address with a peer": (f'[network]\nlisten = ["{BOOTSTRAP}"]\n', "line 2", "names a peer"),
    "a bootstrap without a peer": ('[network]\nbootstrap = ["/ip4/1.2.3.4/tcp/1"]\n', "line 2", "/p2p/12D3KooW"),
    "a bootstrap with half a peer": (f'[network]\nbootstrap = ["{BOOTSTRAP[:-4]}"]\n', "line 2", "/p2p/12D3KooW"),
    "an inline section": ("# hello\nnetwork = { max_peers = 0 }\n", "line 2", "1 … 1000"),
    "a dotted setting": ("\n\nnetwork.max_peers = 0\n", "line 3", "1 … 1000"),
    "the second of two sections": ("[api]\n[network]\n# many\nmax_peers = 0 # none\n", "line 4", "1 … 1000"),
}


@pytest.mark.parametrize(("text", "where", "right"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_its_line_and_what_would_be_right(text: str, where: str, right: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(text, "config.toml")
    assert "config.toml" in str(error.value)
    assert where in str(error.value)
    assert right in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_is_all_defaults() -> None:
    assert parse("") == Configuration()


def test_a_missing_file_is_all_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, {}) == Configuration()


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"[log]\nlevel = \xff\n")
    with pytest.raises(ConfigurationError, match=r"config\.toml, line 2: not UTF-8"):
        load(tmp_path, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"config\.toml cannot be read"):
        load(tmp_path, {})


def test_the_environment_outranks_the_file_and_a_flag_both(tmp_path: Path) -> None:
    # Given a file that sets three things
    (tmp_path / "config.toml").write_text('[api]\nport = 1\n[log]\nlevel = "debug"\njson = false\n')
    # When the environment sets two of them, and a list
    environment = {
        "ECLOUD_API_PORT": "2",
        "ECLOUD_LOG_JSON": "true",
        "ECLOUD_NETWORK_LISTEN": "/ip4/127.0.0.1/tcp/1,/ip6/::1/tcp/2",
        "ECLOUD_UNRELATED": "x",
    }
    configuration = load(tmp_path, environment)
    assert configuration.api.port == 2
    assert configuration.log == LogSettings(level="debug", json=True)
    assert configuration.network.listen == ("/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/2")
    # And a flag one, another flag not being given
    configuration = override(configuration, "api", port=3, host=None)
    assert configuration.api.port == 3
    assert configuration.api.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("ECLOUD_API_PORT", "many", "a whole number"),
        ("ECLOUD_API_PORT", "70000", "0 … 65535"),
        ("ECLOUD_LOG_JSON", "yes", "true or false"),
        ("ECLOUD_LOG_LEVEL", "loud", "debug, info"),
        ("ECLOUD_NETWORK_BOOTSTRAP", "bob", "/p2p/12D3KooW"),
    ],
)
def test_a_wrong_variable_is_named(name: str, text: str, right: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        with_environment(Configuration(), {name: text})
    assert name in str(error.value)
    assert right in str(error.value)


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"--halt-height: halt_height = -1 is outside"):
        override(Configuration(), "node", halt_height=-1)


def test_a_rendered_file_documents_every_setting() -> None:
    text = render(Configuration())
    for section in fields(Configuration):
        assert f"[{section.name}]" in text
        for setting in fields(getattr(Configuration(), section.name)):
            assert f"# {setting.metadata['about']}\n{setting.name} = " in text


ports = st.integers(0, 65_535)
addresses = st.builds("/ip4/127.0.0.1/tcp/{}".format, ports)
configurations = st.builds(
    Configuration,
    network=st.builds(
        NetworkSettings,
        listen=st.lists(addresses, max_size=3).map(tuple),
        bootstrap=st.sampled_from([(), (BOOTSTRAP,)]),
        max_peers=st.integers(1, 1_000),
    ),
    api=st.builds(ApiSettings, host=st.sampled_from(["127.0.0.1", "::1", "localhost"]), port=ports),
    node=st.builds(
        NodeSettings,
        mempool_bytes=st.integers(64 * 1024, 1024**3),
        clock_skew_ms=st.integers(-3_600_000, 3_600_000),
        halt_height=st.integers(0, 2**53),
    ),
    log=st.builds(LogSettings, level=st.sampled_from(LOG_LEVELS), json=st.booleans()),
)


@given(configurations)
def test_what_is_rendered_is_parsed_back(configuration: Configuration) -> None:
    assert parse(render(configuration)) == configuration
