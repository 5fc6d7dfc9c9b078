"""Wallets under a password: what is stored comes back, and everything else is refused by name."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mnemonic import Mnemonic
from nacl.bindings import crypto_sign_seed_keypair

from ledger.keys import address_text
from node.key_files import KeyFileDamaged, PermissionsTooOpen
from node.keystore import (
    CHEAP,
    MODERATE,
    BadMnemonic,
    BadPassword,
    BadWalletName,
    Cost,
    Keystore,
    UnknownWallet,
    WalletExists,
    WrongPassword,
    seed_of_mnemonic,
    wallet_directory,
)

PASSWORD = "correct horse battery staple"
# 256-bit vectors of BIP-39: the first three stand in vectors.json of trezor/python-mnemonic, the last in the tests of
# several other implementations.
BIP39 = {
    "00" * 32: "abandon " * 23 + "art",
    "7f" * 32: "legal winner thank year wave sausage worth useful " * 2
    + "legal winner thank year wave sausage worth title",
    "ff" * 32: "zoo " * 23 + "vote",
    "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c": "hamster diagram private dutch cause delay "
    "private meat slide toddler razor book happy fancy gospel tennis maple dilemma loan word shrug inflict delay "
    "length",
}


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "wallets")


def edit(keystore: Keystore, name: str, **changes: Any) -> Path:
    path = keystore.show(name).path
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def test_a_new_wallet_opens_with_its_password(keystore: Keystore) -> None:
    # Given a new wallet, at the usual cost
    address, _ = keystore.create("anne", PASSWORD)
    # When it is unlocked
    seed = keystore.unlock("anne", PASSWORD)
    # Then the seed is the key of the address shown, and the file is the owner's alone and holds no secret in clear
    public_key = crypto_sign_seed_keypair(seed)[0]
    wallet = keystore.show("anne")
    assert (wallet.name, wallet.address, wallet.public_key) == ("anne", address, public_key)
    assert address == address_text(public_key)
    assert wallet.path == keystore.directory / "anne.json"
    assert wallet.path.stat().st_mode & 0o777 == 0o600
    assert keystore.directory.stat().st_mode & 0o777 == 0o700
    content = wallet.path.read_text()
    assert seed.hex() not in content
    document = json.loads(content)
    assert document["derivation"]["operations"] == MODERATE.operations == 3
    assert document["derivation"]["memory_bytes"] == MODERATE.memory_bytes == 256 * 1024**2


def test_a_wallet_made_cheap_says_so_in_its_file(keystore: Keystore) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    assert json.loads(keystore.show("anne").path.read_text())["derivation"]["memory_bytes"] == CHEAP.memory_bytes
    # And a cost of one's own is read back from the file
    keystore.create("bob", PASSWORD, Cost(2, 32 * 1024))
    assert len(keystore.unlock("bob", PASSWORD)) == 32


def test_a_machine_without_the_memory_is_told_how_much_is_needed(keystore: Keystore) -> None:
    # Given a process that may not have 256 MiB more
    program = (
        "import resource, sys; from pathlib import Path; from node.keystore import Keystore, NotEnoughMemory\n"
        "resource.setrlimit(resource.RLIMIT_AS, (200 * 1024**2, -1))\n"
        "try: Keystore(Path(sys.argv[1])).create('anne', 'password')\n"
        "except NotEnoughMemory as error: print(error)"
    )
    # When it makes a wallet, then it learns why not, and there is none
    arguments = [sys.executable, "-c", program, str(keystore.directory)]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert "256 MiB" in result.stdout
    assert keystore.names() == []


def test_each_wallet_has_a_key_of_its_own(keystore: Keystore) -> None:
    assert keystore.create("anne", PASSWORD, CHEAP) != keystore.create("bob", PASSWORD, CHEAP)


def test_the_24_words_bring_the_wallet_back_elsewhere(keystore: Keystore, tmp_path: Path) -> None:
    # Given a wallet and its words
    address, words = keystore.create("anne", PASSWORD, CHEAP)
    assert len(words.split()) == 24
    assert keystore.export_mnemonic("anne", PASSWORD) == words
    # When they are imported on another machine under another password
    elsewhere = Keystore(tmp_path / "elsewhere")
    # Then it is the same key
    assert elsewhere.import_mnemonic("anne", words, "another password", CHEAP) == address
    assert elsewhere.unlock("anne", "another password") == keystore.unlock("anne", PASSWORD)


@pytest.mark.parametrize(("seed", "words"), BIP39.items())
def test_the_words_are_those_of_bip_39(keystore: Keystore, seed: str, words: str) -> None:
    assert seed_of_mnemonic(words).hex() == seed
    keystore.import_mnemonic("anne", words, PASSWORD, CHEAP)
    assert keystore.unlock("anne", PASSWORD).hex() == seed
    assert keystore.export_mnemonic("anne", PASSWORD) == words


def test_words_may_be_typed_on_lines_and_in_capitals(keystore: Keystore) -> None:
    assert seed_of_mnemonic("  Zoo\n" * 23 + "\tVOTE\n") == b"\xff" * 32


@settings(max_examples=100, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32))
def test_every_seed_has_words_and_comes_back(seed: bytes) -> None:
    assert seed_of_mnemonic(Mnemonic("english").to_mnemonic(seed)) == seed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "these are 0"),
        ("abandon " * 23, "these are 23"),
        ("abandon " * 11 + "about", "these are 12"),
        ("abandon " * 24, "do not belong together"),
        ("abandon " * 16 + "abandom " + "abandon " * 6 + "art", "word 17, 'abandom'.*did you mean 'abandon'"),
        ("abandon " * 23 + "äöü", "word 24"),
        ("qqqqqqqqqqqqqqqqqqqqqqqqqqqqq " * 24, "word 1, 'qqqqqqqqqqqqqqqqqqqq', is not"),
    ],
)
def test_words_that_are_no_backup_are_refused_by_name(keystore: Keystore, words: str, says: str) -> None:
    with pytest.raises(BadMnemonic, match=says):
        keystore.import_mnemonic("anne", words, PASSWORD, CHEAP)
    assert keystore.names() == []


@pytest.mark.parametrize(
    "attempt", ["", "correct horse battery stapl", PASSWORD + " ", PASSWORD.upper(), "x" * 5000, "\udcff"]
)
def test_a_wrong_password_is_named(keystore: Keystore, attempt: str) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    with pytest.raises(WrongPassword, match=r"'anne'.*24 words"):
        keystore.unlock("anne", attempt)
    with pytest.raises(WrongPassword):
        keystore.export_mnemonic("anne", attempt)


def test_a_password_opens_however_its_accents_are_typed(keystore: Keystore) -> None:
    # Given a password with a composed letter; when typed as letter and accent, then it is the same password
    keystore.create("anne", "caf\u00e9 cr\u00e8me", CHEAP)
    assert keystore.unlock("anne", "cafe\u0301 cre\u0300me") == keystore.unlock("anne", "caf\u00e9 cr\u00e8me")


@pytest.mark.parametrize(("password", "says"), [("", "needs a password"), ("x" * 1025, "1025 bytes")])
def test_passwords_that_cannot_be_used_make_no_wallet(keystore: Keystore, password: str, says: str) -> None:
    with pytest.raises(BadPassword, match=says):
        keystore.create("anne", password, CHEAP)
    assert keystore.names() == []


def test_an_unknown_name_lists_those_there_are(keystore: Keystore) -> None:
    # Given no wallets, then one learns how to make one
    with pytest.raises(UnknownWallet, match="wallet create"):
        keystore.unlock("anne", PASSWORD)
    # Given two, then one learns their names
    keystore.create("bob", PASSWORD, CHEAP)
    keystore.create("anna", PASSWORD, CHEAP)
    for ask in (keystore.show, lambda name: keystore.unlock(name, PASSWORD)):
        with pytest.raises(UnknownWallet, match=r"'anne'.*there are: anna, bob"):
            ask("anne")


def test_a_name_that_is_taken_keeps_its_key(keystore: Keystore) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    seed = keystore.unlock("anne", PASSWORD)
    with pytest.raises(WalletExists, match="'anne'"):
        keystore.create("anne", "other", CHEAP)
    with pytest.raises(WalletExists):
        keystore.import_mnemonic("anne", BIP39["00" * 32], "other", CHEAP)
    assert keystore.unlock("anne", PASSWORD) == seed


@pytest.mark.parametrize(
    "name", ["", "Anne", "../anne", "anne/bob", "-anne", ".anne", "an ne", "änne", "a" * 33, "a\n", "a\x00"]
)
def test_names_that_could_leave_the_directory_or_mislead_are_refused(keystore: Keystore, name: str) -> None:
    for use in (
        lambda: keystore.create(name, PASSWORD, CHEAP),
        lambda: keystore.unlock(name, PASSWORD),
        lambda: keystore.show(name),
    ):
        with pytest.raises(BadWalletName):
            use()


def test_a_wallet_that_others_may_read_is_shown_and_not_opened(keystore: Keystore) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    keystore.show("anne").path.chmod(0o644)
    with pytest.raises(PermissionsTooOpen, match="chmod 600"):
        keystore.unlock("anne", PASSWORD)
    assert keystore.show("anne").name == "anne"


def test_listing_shows_the_good_and_names_the_damaged(keystore: Keystore) -> None:
    # Given no directory, then no wallets
    assert keystore.list_wallets() == ([], [])
    # Given two wallets, one damaged, and files that are none
    keystore.create("bob", PASSWORD, CHEAP)
    keystore.create("anne", PASSWORD, CHEAP)
    keystore.create("carla", PASSWORD, CHEAP)
    keystore.show("anne").path.write_text("{")
    (keystore.directory / "notes.txt").write_text("x")
    (keystore.directory / ".hidden.json").write_text("x")
    # When listed
    wallets, damaged = keystore.list_wallets()
    # Then the good are there and the damaged one is named
    assert [wallet.name for wallet in wallets] == ["bob", "carla"]
    assert len(damaged) == 1
    assert "anne.json" in str(damaged[0])


@pytest.mark.parametrize("place", range(0, 1000, 23))
def test_any_flipped_bit_is_found(keystore: Keystore, place: int) -> None:
    # Given a wallet of which one bit is flipped
    keystore.create("anne", PASSWORD, CHEAP)
    path = keystore.show("anne").path
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)
    # When it is opened, then it is damaged, never a wrong password and never another key
    with pytest.raises(KeyFileDamaged, match=r"anne\.json"):
        keystore.unlock("anne", PASSWORD)
    with pytest.raises(KeyFileDamaged, match=r"anne\.json"):
        keystore.show("anne")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 10_000, b"x" * 20_000, b'{"version": 1}'],
)
def test_files_that_are_no_wallets_are_damaged(keystore: Keystore, content: bytes) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    keystore.show("anne").path.write_bytes(content)
    with pytest.raises(KeyFileDamaged, match=r"anne\.json"):
        keystore.unlock("anne", PASSWORD)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"extra": 1},
        {"secret_box": "00"},
        {"public_key": "zz" * 32},
        {"checksum": ""},
        {"derivation": {"algorithm": "argon2id", "operations": 1, "memory_bytes": 2**41, "salt": "00" * 16}},
        {"derivation": {"algorithm": "argon2id", "operations": 10**9, "memory_bytes": 8192, "salt": "00" * 16}},
        {"derivation": {"algorithm": "scrypt", "operations": 1, "memory_bytes": 8192, "salt": "00" * 16}},
    ],
)
def test_documents_with_other_fields_or_ruinous_costs_are_refused(keystore: Keystore, changes: dict[str, Any]) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    edit(keystore, "anne", **changes)
    with pytest.raises(KeyFileDamaged):
        keystore.unlock("anne", PASSWORD)


def test_a_file_under_another_name_is_refused(keystore: Keystore) -> None:
    keystore.create("anne", PASSWORD, CHEAP)
    path = keystore.show("anne").path
    path.rename(path.with_name("bob.json"))
    with pytest.raises(KeyFileDamaged, match="holds the wallet 'anne'"):
        keystore.unlock("bob", PASSWORD)


def test_a_file_that_shows_another_key_than_it_holds_is_refused(keystore: Keystore) -> None:
    # Given a wallet into which somebody has put the secret of another, checksum and all
    keystore.create("anne", PASSWORD, CHEAP)
    keystore.create("bob", PASSWORD, CHEAP)
    stolen = json.loads(keystore.show("bob").path.read_text())
    path = keystore.show("anne").path
    own = json.loads(path.read_text())
    own |= {"derivation": stolen["derivation"], "secret_box": stolen["secret_box"]}
    own["checksum"] = checksum_of(own)
    path.write_text(json.dumps(own))
    # When it is opened, then the right password does not help; nor does an address that is not the key's
    with pytest.raises(KeyFileDamaged, match="shows another key"):
        keystore.unlock("anne", PASSWORD)
    own["address"] = stolen["address"]
    own["checksum"] = checksum_of(own)
    path.write_text(json.dumps(own))
    with pytest.raises(KeyFileDamaged, match="address that is not its key's"):
        keystore.show("anne")


def checksum_of(document: dict[str, Any]) -> str:
    text = json.dumps(document | {"checksum": ""}, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def test_the_directory_is_the_argument_then_the_environment_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECLOUD_WALLETS", str(tmp_path / "named"))
    assert Keystore().directory == wallet_directory() == tmp_path / "named"
    assert Keystore(tmp_path / "given").directory == tmp_path / "given"
    monkeypatch.delenv("ECLOUD_WALLETS")
    assert Keystore().directory == Path(platformdirs.user_data_dir("ecloud")) / "wallets"
