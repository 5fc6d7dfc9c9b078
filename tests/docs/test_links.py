"""Nothing in the documents points nowhere: links, headings, files, commands with their options, API paths, keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.main import get_command

from cli.main import app
from node.client.events import KNOWN_TAGS
from tests.docs.documents import DOCUMENTS, ROOT, commands, fences, links, table_rows, words_of_code
from tui.screens import PLACES, SCREENS

API = ROOT / "docs" / "api.md"
ROOMS = ("ledger", "consensus", "storage", "p2p", "node", "home", "devnet", "tui", "cli", "bench", "tests", "docs")


def _name(document: Path) -> str:
    return str(document.relative_to(ROOT))


def _anchors(document: Path) -> set[str]:
    """The names GitHub gives headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for link in links(document):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{_name(document)}: {link}"
        if anchor:
            assert anchor in _anchors(target), f"{_name(document)}: no heading for {link}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_path_of_the_project_named_exists(document: Path) -> None:
    for word in words_of_code(document):
        if re.fullmatch(rf"({'|'.join(ROOMS)})/[\w./-]*", word):
            assert (ROOT / word).exists(), f"{_name(document)}: {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_command_named_exists_with_its_options(document: Path) -> None:
    for words in commands(document):
        _check_command(words, _name(document))


def _check_command(words: list[str], where: str) -> None:
    command: Any = get_command(app)
    path = "ecloud"
    words = list(words)
    while words and hasattr(command, "commands") | hasattr(command, "list_commands") and not words[0].startswith("-"):
        name = words.pop(0)
        path += f" {name}"
        found = command.get_command(None, name)
        assert found is not None, f"{where}: there is no `{path}`"
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options |= {"--help", "-h"}
    for word in words:
        if word.startswith("-") and len(word) > 1:
            assert word.partition("=")[0] in options, f"{where}: `{path}` has no option {word}"


def test_the_devnet_s_options_listed_are_its_own() -> None:
    rows = table_rows(ROOT / "docs" / "operators-guide.md", "A neighbourhood on one machine")
    assert rows
    for row in rows:
        _check_command(["devnet", "up", row[0].split()[0]], "operators-guide.md")


def test_a_wrong_command_would_be_found() -> None:
    for wrong in (["wallet", "steal"], ["node", "run", "--steal"], ["chain", "fork"]):
        with pytest.raises(AssertionError):
            _check_command(wrong, "here")


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_every_make_target_named_exists(document: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shell = "\n".join(fence.text for fence in fences(document) if fence.info == "sh")
    named = [*words_of_code(document), *shell.splitlines()]
    for word in named:
        if found := re.match(r"make ([\w-]+)", word):
            assert found[1] in targets, f"{_name(document)}: {word}"


def test_the_api_page_lists_every_path_and_event() -> None:
    from fastapi.routing import APIRoute

    from node.api.account_routes import account_router
    from node.api.bill_routes import bill_router
    from node.api.chain_routes import chain_router
    from node.api.join_routes import join_router
    from node.api.market_routes import market_router
    from node.api.node_routes import node_router, root_router
    from node.api.sharing_routes import sharing_router

    parts: Any = (None, None)  # routes are made without asking the node anything
    makers = (node_router, chain_router, account_router, join_router, market_router, sharing_router)
    routers = [
        ("", root_router(*parts)),
        *(("/v1", make(*parts)) for make in makers),
        ("/v1", bill_router(parts[1])),
    ]
    paths = {
        f"{method} {prefix}{route.path}"
        for prefix, router in routers
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert {row[0] for row in table_rows(API, "Paths")} == paths
    assert {row[0] for row in table_rows(API, "Events")} == KNOWN_TAGS


def test_the_problem_shown_is_one() -> None:
    from node.client.models import Problem

    [shown] = [fence.text for fence in fences(API) if fence.info == "json"]
    assert msgspec.json.decode(shown, type=Problem).refusal == "malformed"


def test_the_user_s_guide_lists_every_screen_and_key() -> None:
    rows = table_rows(ROOT / "docs" / "users-guide.md", "The terminal")
    assert {(row[0], row[1]) for row in rows} >= {(place.key, place.title) for place in PLACES}
    keys = " ".join(row[0] for row in rows)
    for screen in SCREENS:
        for binding in screen.BINDINGS:
            shown = getattr(binding, "key_display", None) or {"slash": "/", "escape": "Esc"}.get(
                binding.key, binding.key
            )
            assert shown in keys, f"{screen.PLACE.title}: {shown}"
