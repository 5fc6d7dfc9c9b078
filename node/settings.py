"""Settings of a program as fields of dataclasses: a TOML file, overridden by the environment, overridden by flags.

1. A configuration is a frozen dataclass of sections, a section one of settings made by ``setting``: default, sentence
   of documentation, bounds or choices. ``render`` writes a complete file from them, so file and program cannot
   disagree.
2. A wrong file is refused whole, with the line that is wrong and what would be right.
3. ``<PREFIX>_<SECTION>_<KEY>`` in the environment overrides the file; a flag overrides both.
4. ``check`` is the program's own look at what a value means; it raises ConfigurationError that begins with ``where``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class ConfigurationError(ValueError):
    """The configuration is wrong; the message has the file, the line, and what would be right."""


class Section(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


C = TypeVar("C", bound=Section)
Check = Callable[[str, Any, str], None]
"""Takes key, value, and where it stands."""


def setting(
    default: Any, about: str, smallest: int | None = None, largest: int | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """A field. Texts, whole numbers, truths, and tuples of texts."""
    metadata = {"about": about, "smallest": smallest, "largest": largest, "choices": choices}
    if isinstance(default, tuple):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def load(kind: type[C], path: Path, environment: Mapping[str, str], prefix: str, check: Check) -> C:
    """Reads a file, if there is one, and the environment. Errors: ConfigurationError."""
    try:
        text = path.read_text("utf-8") if path.exists() else ""
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}; give the user who starts this program the file"
        ) from error
    return with_environment(parse(kind, text, str(path), check), environment, prefix, check)


def parse(kind: type[C], text: str, source: str, check: Check) -> C:
    """Checks a whole file. Errors: ConfigurationError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(
            f"{source}: not TOML: {error}; each line is key = value, texts in quotes, lists in brackets"
        ) from error
    configuration = kind()
    sections: dict[str, Any] = {}
    known = {section.name: section for section in fields(kind)}
    for name, table in document.items():
        where = f"{source}, line {_line_of(text, None, name)}"
        if name not in known:
            raise ConfigurationError(f"{where}: no section [{name}]; there are {_listing(known)}")
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where}: {name} is a section: write [{name}] on a line of its own")
        settings = getattr(configuration, name)
        for key, value in table.items():
            settings = _set(settings, key, value, f"{source}, line {_line_of(text, name, key)}", check)
        sections[name] = settings
    return kind(**sections)


def with_environment(configuration: C, environment: Mapping[str, str], prefix: str, check: Check) -> C:
    """Applies ``<PREFIX>_<SECTION>_<KEY>``; lists are separated by commas. Errors: ConfigurationError."""
    sections: dict[str, Any] = {}
    for section in fields(configuration):
        settings = getattr(configuration, section.name)
        beginning = f"{prefix}_{section.name}_".upper()
        for name in environment:
            if name.startswith(beginning) and name.removeprefix(beginning).lower() not in vars(settings):
                raise ConfigurationError(
                    f"environment variable {name}: no such setting; there are {_listing(vars(settings))}"
                )
        for one in fields(settings):
            name = f"{beginning}{one.name}".upper()
            if name in environment:
                value = _from_text(environment[name], getattr(settings, one.name), name)
                settings = _set(settings, one.name, value, f"environment variable {name}", check)
        sections[section.name] = settings
    return replace(configuration, **sections)


def override(configuration: C, section: str, values: Mapping[str, Any], check: Check) -> C:
    """Applies flags; a value of None leaves what there is. Errors: ConfigurationError."""
    settings = getattr(configuration, section)
    for key, value in values.items():
        if value is not None:
            settings = _set(settings, key, value, f"--{key.replace('_', '-')}", check)
    return replace(configuration, **{section: settings})


def render(configuration: Section, title: str) -> str:
    """A complete, commented file. ``title``: its first line."""
    lines = [f"# {title}", ""]
    for section in fields(configuration):
        settings = getattr(configuration, section.name)
        lines.append(f"[{section.name}]")
        for one in fields(settings):
            lines.append(f"# {one.metadata['about']}")
            lines.append(f"{one.name} = {_toml(getattr(settings, one.name))}")
        lines.append("")
    return "\n".join(lines)


def _set(settings: Any, key: str, value: Any, where: str, check: Check) -> Any:
    known = {one.name: one for one in fields(settings)}
    if key not in known:
        raise ConfigurationError(f"{where}: no setting {key!r}; there are {_listing(known)}")
    metadata, present = known[key].metadata, getattr(settings, key)
    if isinstance(present, tuple):
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise ConfigurationError(
                f"{where}: {key} is a list of texts, for instance {key} = {_toml(present or ('',))}"
            )
        value = tuple(value)
    elif type(value) is not type(present):
        kind = {bool: "true or false", int: "a whole number", str: "a text in quotes"}[type(present)]
        raise ConfigurationError(f"{where}: {key} = {value!r}: expected {kind}, for instance {_toml(present)}")
    smallest, largest = metadata["smallest"], metadata["largest"]
    if smallest is not None and not smallest <= value <= largest:
        raise ConfigurationError(f"{where}: {key} = {value} is outside {smallest} … {largest}")
    if metadata["choices"] and value not in metadata["choices"]:
        raise ConfigurationError(f"{where}: {key} = {value!r}; there are {', '.join(metadata['choices'])}")
    check(key, value, where)
    return replace(settings, **{key: value})


def _from_text(text: str, present: Any, where: str) -> Any:
    if isinstance(present, tuple):
        return [part for part in text.split(",") if part]
    if isinstance(present, bool):
        if text.lower() not in {"true", "false", "1", "0"}:
            raise ConfigurationError(f"{where} = {text!r}: expected true or false")
        return text.lower() in {"true", "1"}
    if isinstance(present, int):
        try:
            return int(text)
        except ValueError as error:
            raise ConfigurationError(f"{where} = {text!r}: expected a whole number") from error
    return text


def _line_of(text: str, section: str | None, key: str) -> int:
    """The line on which a section begins, or a key of it is set; 1 where it cannot be told."""
    inside = section is None
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([\w.\"-]+)\s*\]+", line)
        if header:
            inside = section is None or header[1] == section
            if section is None and header[1].split(".")[0] == key:
                return number
        elif inside and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            return number
    for number, line in enumerate(text.splitlines(), 1):  # section = { key = … }, or section.key = …
        if re.match(rf"\s*\"?{re.escape(section or key)}\"?\s*[.=].*{re.escape(key)}", line):
            return number
    return 1


def _listing(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
