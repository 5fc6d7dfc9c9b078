"""The tables of settings in the guides, from the fields of ``node.configuration`` and ``home.configuration``.

``python -m tests.docs.configuration_reference [home]`` prints it as it stands in the guide.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from typing import Any

import home.configuration
from node.configuration import Configuration


def reference(configuration: Any = None) -> list[list[str]]:
    """Rows: section.key, default, bounds, meaning; of the node's settings unless others are given."""
    rows = []
    configuration = Configuration() if configuration is None else configuration
    for section in fields(configuration):
        settings = getattr(configuration, section.name)
        for setting in fields(settings):
            about = setting.metadata
            bounds = "" if about["smallest"] is None else f"{about['smallest']:,} … {about['largest']:,}"
            default = _shown(getattr(settings, setting.name))
            rows.append([f"{section.name}.{setting.name}", default, bounds, about["about"]])
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) and value > 65_535 else str(value)


if __name__ == "__main__":
    print("| setting | default | bounds | meaning |\n| --- | --- | --- | --- |")
    chosen = home.configuration.Configuration() if "home" in sys.argv else None
    for key, default, bounds, about in reference(chosen):
        print(f"| `{key}` | `{default}` | {bounds} | {about} |")
