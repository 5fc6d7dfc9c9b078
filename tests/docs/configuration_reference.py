"""The table of settings in ``docs/operators-guide.md``, from the fields of ``node.configuration``.

``python -m tests.docs.configuration_reference`` prints it as it stands in the guide.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from node.configuration import Configuration


def reference() -> list[list[str]]:
    """Rows: section.key, default, bounds, meaning."""
    rows = []
    configuration = Configuration()
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
    for key, default, bounds, about in reference():
        print(f"| `{key}` | `{default}` | {bounds} | {about} |")
