"""A disk that can be full: a tmpfs of a few megabytes mounted over a directory, and a ballast that fills it.

    with small_disk(directory, 8) as disk:
        disk.fill()
        disk.make_room()

Mounting needs root. Where it is not allowed, the test is skipped by name.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

CHUNKS = (1 << 20, 1 << 12, 1)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    directory: Path

    @property
    def ballast(self) -> Path:
        return self.directory / "ballast"

    def fill(self) -> None:
        """Until not one byte more is taken. What is on the disk already stays writable in place, as on any disk."""
        descriptor = os.open(self.ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for chunk in CHUNKS:
                while True:
                    try:
                        os.write(descriptor, bytes(chunk))
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break
        finally:
            os.close(descriptor)
        assert os.statvfs(self.directory).f_bavail == 0

    def make_room(self) -> None:
        self.ballast.unlink()


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Moves what is in ``directory`` onto a disk of its own. Skips the test where mounting is not allowed."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(directory, Path(aside) / "content")
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(directory)]
        try:
            done = subprocess.run(mount, check=False, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("a full disk needs the command mount, which is not here")
        if done.returncode:
            pytest.skip(f"a full disk needs the right to mount a tmpfs: {done.stderr.strip()}")
        shutil.copytree(Path(aside) / "content", directory, dirs_exist_ok=True)
    try:
        yield SmallDisk(directory)
    finally:
        with suppress(FileNotFoundError):
            (directory / "ballast").unlink()
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
