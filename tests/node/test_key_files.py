"""Files that hold a secret: made whole or not at all, never replaced, never read when others may."""

import multiprocessing
import os
from pathlib import Path

import pytest

from node.key_files import (
    MAX_KEY_FILE_BYTES,
    KeyFileDamaged,
    KeyFileError,
    KeyFileExists,
    KeyFileMissing,
    PermissionsTooOpen,
    load_or_create_seed,
    load_seed,
    write_private,
)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_missing_seed_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    # Given no file, under a permissive umask
    path = tmp_path / "data" / "node.key"
    before = os.umask(0)
    try:
        # When the seed is asked for twice
        seed = load_or_create_seed(path)
        again = load_or_create_seed(path)
    finally:
        os.umask(before)
    # Then it is one seed, in a file and directory of the owner's
    assert len(seed) == 32
    assert again == seed == load_seed(path)
    assert mode_of(path) == 0o600
    assert mode_of(path.parent) == 0o700
    assert path.read_text() == seed.hex() + "\n"
    assert list(path.parent.iterdir()) == [path]


def test_two_files_hold_two_seeds(tmp_path: Path) -> None:
    assert load_or_create_seed(tmp_path / "node.key") != load_or_create_seed(tmp_path / "meter.key")


def _load_or_create_in_process(
    path: Path, barrier: "multiprocessing.synchronize.Barrier", queue: "multiprocessing.Queue[bytes]"
) -> None:
    barrier.wait()
    queue.put(load_or_create_seed(path))


def test_processes_that_start_together_get_the_same_seed(tmp_path: Path) -> None:
    # Given several processes that make the same key at the same moment
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(4), context.Queue()
    path = tmp_path / "node.key"
    processes = [context.Process(target=_load_or_create_in_process, args=(path, barrier, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    # When all have it, then it is the one in the file
    seeds = {queue.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(timeout=30)
    assert seeds == {load_seed(path)}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_seed_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileMissing, match=r"node\.key"):
        load_seed(tmp_path / "node.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_seed_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    load_or_create_seed(path)
    path.chmod(mode)
    with pytest.raises(PermissionsTooOpen, match="chmod 600"):
        load_seed(path)
    with pytest.raises(PermissionsTooOpen):
        load_or_create_seed(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"ab" * 31 + b"\n",
        b"ab" * 33 + b"\n",
        b"ag" * 32 + b"\n",
        b"ab " * 32 + b"\n",
        b"ab" * 32 + b"\n\n",
        b"\xff" * 64,
        b"\x00" * 32,
        b"a" * (MAX_KEY_FILE_BYTES + 1),
    ],
)
def test_a_damaged_seed_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(content)
    path.chmod(0o600)
    for load in (load_seed, load_or_create_seed):
        with pytest.raises(KeyFileDamaged, match=r"node\.key"):
            load(path)
    assert path.read_bytes() == content


def test_a_directory_in_the_place_of_a_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileDamaged, match="is a directory"):
        load_seed(tmp_path)


def test_a_file_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    write_private(path, b"first")
    with pytest.raises(KeyFileExists):
        write_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_one_error_family_covers_all() -> None:
    assert all(issubclass(error, KeyFileError) for error in (KeyFileMissing, KeyFileDamaged, PermissionsTooOpen))
