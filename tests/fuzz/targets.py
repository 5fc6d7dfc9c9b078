"""Every parser of bytes that this program did not write itself, or that a disk or a person may have changed since."""

from __future__ import annotations

from typing import Final

from tests.fuzz import chain, documents, joining, layers
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for target in (*layers.TARGETS, *chain.TARGETS, *documents.TARGETS, *joining.TARGETS)
}
