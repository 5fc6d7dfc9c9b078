"""What ``docs/users-guide.md`` says of a home is the program's own."""

from __future__ import annotations

from home import topics
from home.configuration import SOURCES, Configuration
from tests.docs.configuration_reference import reference
from tests.docs.documents import ROOT, table_rows

GUIDE = ROOT / "docs" / "users-guide.md"


def test_the_table_has_every_setting_of_a_home_as_it_is() -> None:
    # If this fails: python -m tests.docs.configuration_reference home prints the table
    assert table_rows(GUIDE, "All settings of a home") == reference(Configuration())


def test_the_sources_and_topics_are_those_there_are() -> None:
    assert tuple(row[0] for row in table_rows(GUIDE, "The meter")) == SOURCES
    named = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert {row[0] for row in table_rows(GUIDE, "MQTT")} == named
