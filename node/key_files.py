"""Files that hold a secret, and the plain seed files of the node's and the meter's key.

1. A key file is made whole or not at all: it is written and fsynced under another name, readable by its owner only
   (0600), and then linked to its own. It never replaces a file that is there, also when two processes make it at once.
2. A secret is not read from a file that others may read or write: the error says how to mend it, and that the key may
   have been seen.
3. A seed file is the 32-byte Ed25519 seed (RFC 8032) as 64 hexadecimal digits and a line's end, and nothing else.
   Node and meter must start without a person, so it is not encrypted; what a wallet owns is in `node.keystore`.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

SEED_BYTES: Final = 32
MAX_KEY_FILE_BYTES: Final = 16 * 1024

_FILE_MODE: Final = 0o600
_DIRECTORY_MODE: Final = 0o700
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class KeyFileError(Exception):
    """A key or wallet file cannot be used; the message says what to do about it."""


class KeyFileMissing(KeyFileError):
    """There is no such file."""


class KeyFileExists(KeyFileError):
    """The file to be made is there already."""


class KeyFileDamaged(KeyFileError):
    """The file does not hold what it should."""


class PermissionsTooOpen(KeyFileError):
    """Others than the owner may read or write the file."""


def load_seed(path: Path) -> bytes:
    """The 32-byte seed in a seed file.

    Errors: KeyFileMissing, PermissionsTooOpen, KeyFileDamaged.
    """
    content = read_private(path)
    try:
        text = content.decode("ascii").removesuffix("\n")
        # bytes.fromhex would take spaces between the digits.
        seed = bytes.fromhex(text) if text.isalnum() else b""
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise KeyFileDamaged(f"{path} does not hold a key's 64 hexadecimal digits; put back its backup, or remove it")
    return seed


def load_or_create_seed(path: Path) -> bytes:
    """The 32-byte seed in a seed file, which is made with a new random seed (and its directory, 0700) if missing.

    Errors: PermissionsTooOpen, KeyFileDamaged.
    """
    if not path.exists():
        make_private_directory(path.parent)
        # Another process may make it at this moment: then its seed is the one.
        with contextlib.suppress(KeyFileExists):
            write_private(path, secrets.token_bytes(SEED_BYTES).hex().encode("ascii") + b"\n")
    return load_seed(path)


def make_private_directory(path: Path) -> None:
    """Makes the directory (0700) and its parents, if missing. A directory that is there stays as it is."""
    path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Makes a new file, 0600 and fsynced, by rule 1.

    Errors: KeyFileExists; OSError of the file system.
    """
    assert 0 < len(content) <= MAX_KEY_FILE_BYTES
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError as error:
        raise KeyFileExists(f"{path} is there already") from error
    finally:
        temporary.unlink()
    _sync_directory(path.parent)


def read_private(path: Path) -> bytes:
    """The content of a file that holds a secret.

    Errors: KeyFileMissing, PermissionsTooOpen, KeyFileDamaged (larger than any key file); OSError of the file system.
    """
    content, mode = _read(path)
    if mode & _OTHERS:
        raise PermissionsTooOpen(
            f"others may read or write {path} (mode {stat.S_IMODE(mode):04o}); run: chmod 600 '{path}'. "
            "If others use this machine, take the key for stolen and make a new one"
        )
    return content


def read_public(path: Path) -> bytes:
    """The content of a key file of which only the public part will be used; anyone may be able to read it.

    Errors: KeyFileMissing, KeyFileDamaged (larger than any key file); OSError of the file system.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            # The open file is asked, so that nobody can change it in between.
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_KEY_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise KeyFileMissing(f"there is no key file {path}") from error
    except IsADirectoryError as error:
        raise KeyFileDamaged(f"{path} is a directory, not a key file") from error
    if len(content) > MAX_KEY_FILE_BYTES:
        raise KeyFileDamaged(f"{path} is larger than a key file can be ({MAX_KEY_FILE_BYTES} bytes)")
    return content, mode


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
