"""Wallet keys, encrypted under a password, one JSON file each.

1. The directory is the caller's, else `$ECLOUD_WALLETS`, else `wallets` in the user's data directory for `ecloud`.
2. The file `NAME.json` holds version, name, address, public key, how the password becomes a key (Argon2id, RFC 9106,
   with its cost and salt), and the Ed25519 seed in a SecretBox (XSalsa20-Poly1305). `checksum` is the SHA-256 of the
   same document with an empty checksum: it tells a damaged file from a wrong password, and is no protection. What is
   unlocked is checked against the public key shown.
3. A password is taken in Unicode's form NFKC, so that it does not depend on the keyboard it was typed with.
4. The backup is a BIP-39 mnemonic of 24 English words. Its entropy is the seed itself: no BIP-32 derivation, no
   passphrase. Every wallet has one, since a seed has 32 bytes.
5. Costs read from a file are bounded, so that a file sent by somebody cannot take the machine down.

Deriving a key takes 0.7 s of a core and 256 MiB at the usual cost: call `create`, `unlock` and the like in a thread
where something else must go on.
"""

import difflib
import functools
import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import nacl.exceptions
import nacl.pwhash.argon2id
import platformdirs
from mnemonic import Mnemonic
from nacl.bindings import crypto_sign_seed_keypair
from nacl.secret import SecretBox

from ledger.keys import address_text
from node.key_files import (
    SEED_BYTES,
    KeyFileDamaged,
    KeyFileError,
    KeyFileExists,
    KeyFileMissing,
    make_private_directory,
    read_private,
    read_public,
    write_private,
)

MNEMONIC_WORDS: Final = 24
MAX_PASSWORD_BYTES: Final = 1024

_SUFFIX: Final = ".json"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_MAX_MEMORY_BYTES: Final = 1024**3
_MAX_OPERATIONS: Final = 16
_HOW_TO_RECOVER: Final = "put back a copy of it, or `ecloud wallet import` its 24 words under another name"


class WrongPassword(KeyFileError):
    """The password does not open the wallet."""


class UnknownWallet(KeyFileError):
    """There is no wallet of this name in the directory."""


class WalletExists(KeyFileError):
    """The name of the wallet to be made is taken."""


class BadWalletName(KeyFileError):
    """The name cannot be that of a wallet."""


class BadPassword(KeyFileError):
    """The password cannot be used for a new wallet: it is empty or too long."""


class BadMnemonic(KeyFileError):
    """The words are no backup of a key."""


class NotEnoughMemory(KeyFileError):
    """Deriving the key needs more memory than there is."""


class Cost(msgspec.Struct, frozen=True):
    """What trying one password costs: Argon2id's passes and memory."""

    operations: int
    memory_bytes: int


MODERATE: Final = Cost(nacl.pwhash.argon2id.OPSLIMIT_MODERATE, nacl.pwhash.argon2id.MEMLIMIT_MODERATE)
# Protects nothing: for tests and for a devnet whose money is play money.
CHEAP: Final = Cost(nacl.pwhash.argon2id.OPSLIMIT_MIN, nacl.pwhash.argon2id.MEMLIMIT_MIN)


class Wallet(NamedTuple):
    """What is known of a wallet without its password."""

    name: str
    address: str
    public_key: bytes
    path: Path


class NewWallet(NamedTuple):
    """A wallet just made, and the 24 words that bring it back; they are shown once."""

    address: str
    mnemonic: str


class WalletList(NamedTuple):
    """The readable wallets by name, and what is wrong with each of the other files."""

    wallets: list[Wallet]
    damaged: list[KeyFileDamaged]


_Hex32 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
_Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class _Derivation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="argon2id", tag_field="algorithm"):
    operations: Annotated[int, msgspec.Meta(ge=CHEAP.operations, le=_MAX_OPERATIONS)]
    memory_bytes: Annotated[int, msgspec.Meta(ge=CHEAP.memory_bytes, le=_MAX_MEMORY_BYTES)]
    salt: _Hex32


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    name: str
    address: str
    public_key: _Hex64
    derivation: _Derivation
    secret_box: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{144}$")]  # nonce 24, authentication 16, seed 32 bytes
    checksum: str

    def expected_checksum(self) -> str:
        return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, checksum=""))).hexdigest()


def wallet_directory() -> Path:
    """`$ECLOUD_WALLETS`, or else `wallets` in the user's data directory for `ecloud`."""
    named = os.environ.get("ECLOUD_WALLETS")
    return Path(named) if named else platformdirs.user_data_path("ecloud", appauthor=False) / "wallets"


class Keystore:
    """The wallets of one directory. Nothing is cached: each call reads the files as they are."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory if directory is not None else wallet_directory()

    def create(self, name: str, password: str, cost: Cost = MODERATE) -> NewWallet:
        """Makes a wallet with a new random key.

        Errors: BadWalletName, WalletExists, BadPassword, NotEnoughMemory.
        """
        seed = secrets.token_bytes(SEED_BYTES)
        return NewWallet(self._store(name, seed, password, cost), _words().to_mnemonic(seed))

    def import_mnemonic(self, name: str, mnemonic: str, password: str, cost: Cost = MODERATE) -> str:
        """Makes a wallet with the key that the 24 words hold; returns its address.

        Errors: BadMnemonic, BadWalletName, WalletExists, BadPassword, NotEnoughMemory.
        """
        return self._store(name, seed_of_mnemonic(mnemonic), password, cost)

    def export_mnemonic(self, name: str, password: str) -> str:
        """The 24 words that bring the wallet back. Errors: as `unlock`."""
        return _words().to_mnemonic(self.unlock(name, password))

    def unlock(self, name: str, password: str) -> bytes:
        """The wallet's 32-byte Ed25519 seed.

        Errors: UnknownWallet, PermissionsTooOpen, KeyFileDamaged, WrongPassword, NotEnoughMemory.
        """
        path = self._path(name)
        document = _decode(path, self._read(name, read_private))
        key = _derive(password, document.derivation)
        try:
            seed = SecretBox(key).decrypt(bytes.fromhex(document.secret_box))
        except nacl.exceptions.CryptoError as error:
            raise WrongPassword(
                f"wrong password for the wallet {name!r}; if it is lost, `ecloud wallet import` makes the wallet anew "
                "from its 24 words"
            ) from error
        if len(seed) != SEED_BYTES or crypto_sign_seed_keypair(seed)[0].hex() != document.public_key:
            raise KeyFileDamaged(f"{path} shows another key than it holds: somebody has changed it; do not use it")
        return seed

    def show(self, name: str) -> Wallet:
        """A wallet's public part, without its password. Errors: UnknownWallet, KeyFileDamaged."""
        path = self._path(name)
        document = _decode(path, self._read(name, read_public))
        return Wallet(document.name, document.address, bytes.fromhex(document.public_key), path)

    def require_possible(self, name: str) -> None:
        """Errors: BadWalletName."""
        self._path(name)

    def names(self) -> list[str]:
        """The names of the wallets there are, sorted; a file among them may be damaged."""
        if not self.directory.is_dir():
            return []
        return sorted(path.stem for path in self.directory.glob(f"*{_SUFFIX}") if _NAME.fullmatch(path.stem))

    def list_wallets(self) -> WalletList:
        """All wallets by name. One damaged file does not hide the others."""
        listing = WalletList([], [])
        for name in self.names():
            try:
                listing.wallets.append(self.show(name))
            except KeyFileDamaged as error:
                listing.damaged.append(error)
            except UnknownWallet:
                continue  # removed since the directory was read
        return listing

    def _store(self, name: str, seed: bytes, password: str, cost: Cost) -> str:
        assert len(seed) == SEED_BYTES
        path = self._path(name)
        if path.exists():  # known before the costly derivation; the writing decides
            raise WalletExists(self._taken(name))
        _check_new_password(password)
        salt = secrets.token_bytes(nacl.pwhash.argon2id.SALTBYTES)
        derivation = _Derivation(cost.operations, cost.memory_bytes, salt.hex())
        public_key = crypto_sign_seed_keypair(seed)[0]
        document = _Document(
            version=1,
            name=name,
            address=address_text(public_key),
            public_key=public_key.hex(),
            derivation=derivation,
            secret_box=SecretBox(_derive(password, derivation)).encrypt(seed).hex(),
            checksum="",
        )
        document = msgspec.structs.replace(document, checksum=document.expected_checksum())
        make_private_directory(self.directory)
        try:
            write_private(path, msgspec.json.format(msgspec.json.encode(document)) + b"\n")
        except KeyFileExists as error:
            raise WalletExists(self._taken(name)) from error
        return document.address

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadWalletName(
                f"{name!r} cannot name a wallet: use 1 to 32 lower-case letters, digits, '-' and '_', and begin with a "
                "letter or digit"
            )
        return self.directory / f"{name}{_SUFFIX}"

    def _read(self, name: str, read: Callable[[Path], bytes]) -> bytes:
        try:
            return read(self._path(name))
        except KeyFileMissing as error:
            there_are = ", ".join(self.names()) or "none; `ecloud wallet create NAME` makes one"
            raise UnknownWallet(f"no wallet {name!r} in {self.directory}; there are: {there_are}") from error

    def _taken(self, name: str) -> str:
        return f"there is a wallet {name!r} in {self.directory} already; choose another name"


def seed_of_mnemonic(mnemonic: str) -> bytes:
    """The 32-byte seed in 24 BIP-39 words, separated by any white space, in any case.

    Errors: BadMnemonic, which names the first word that is not in the list, by its place, and the nearest that is.
    """
    words = unicodedata.normalize("NFKD", mnemonic).lower().split()
    if len(words) != MNEMONIC_WORDS:
        raise BadMnemonic(f"a backup has {MNEMONIC_WORDS} words; these are {len(words)}")
    known = _words().wordlist
    for place, word in enumerate(words, start=1):
        if word not in known:
            nearest = difflib.get_close_matches(word, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise BadMnemonic(f"word {place}, {word[:20]!r}, is not in the BIP-39 list of English words{hint}")
    try:
        seed = bytes(_words().to_entropy(words))
    except ValueError as error:
        raise BadMnemonic(
            "every word is in the list, but they do not belong together: one is another than it was, or two have "
            "changed places"
        ) from error
    assert len(seed) == SEED_BYTES
    return seed


@functools.cache
def _words() -> Mnemonic:
    return Mnemonic("english")


def _decode(path: Path, content: bytes) -> _Document:
    """The document of a wallet file. Errors: KeyFileDamaged."""
    try:
        document = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileDamaged(f"{path} is not a wallet file ({error}); {_HOW_TO_RECOVER}") from error
    if document.checksum != document.expected_checksum():
        raise KeyFileDamaged(f"{path} is damaged: its checksum does not match; {_HOW_TO_RECOVER}")
    if document.name != path.stem:
        raise KeyFileDamaged(f"{path} holds the wallet {document.name!r}: give the file that name back")
    if document.address != address_text(bytes.fromhex(document.public_key)):
        raise KeyFileDamaged(f"{path} shows an address that is not its key's: somebody has changed it; do not use it")
    return document


def _derive(password: str, derivation: _Derivation) -> bytes:
    """The SecretBox key of a password. Errors: NotEnoughMemory."""
    try:
        return nacl.pwhash.argon2id.kdf(
            SecretBox.KEY_SIZE,
            _password_bytes(password),
            bytes.fromhex(derivation.salt),
            derivation.operations,
            derivation.memory_bytes,
        )
    except nacl.exceptions.RuntimeError as error:
        # libsodium reports only this: it could not get the memory.
        needed = derivation.memory_bytes // 1024**2
        raise NotEnoughMemory(
            f"opening this wallet takes {needed} MiB of memory, which is not free: end something else"
        ) from error


def _password_bytes(password: str) -> bytes:
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _check_new_password(password: str) -> None:
    length = len(_password_bytes(password))
    if length == 0:
        raise BadPassword("a wallet needs a password; choose several words that nobody would guess")
    if length > MAX_PASSWORD_BYTES:
        raise BadPassword(f"the password has {length} bytes; {MAX_PASSWORD_BYTES} are the most")
