"""What all tests share."""

from __future__ import annotations

from node import log

log.configure("error", as_json=False)
