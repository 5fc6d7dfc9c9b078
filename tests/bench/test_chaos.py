"""The campaign's plan and its table."""

from __future__ import annotations

from bench.chaos import PLAN, RUNS, settings_of, table
from bench.mutants import table as mutants_table
from devnet.laboratory.chaos.campaign import Outcome, run_silently
from devnet.laboratory.chaos.faults import Fault, FaultKind, Report
from devnet.laboratory.chaos.mutants import MUTANTS, with_mutant
from devnet.laboratory.chaos.setting import Setting, check_setting


def test_a_thousand_different_settings_each_of_which_can_be_run() -> None:
    settings = settings_of(RUNS, 0)
    assert len(set(settings)) == len(settings) == RUNS
    assert {setting.homes for setting in settings} == {share.homes for share in PLAN} == {4, 7, 13}
    assert {setting.interval_ms for setting in settings} == {15_000, 60_000, 600_000}
    for setting in settings:
        check_setting(setting)


def test_a_share_of_the_campaign_ends_in_a_table_with_its_sums() -> None:
    # Given one run of four homes, and one that failed
    fine = run_silently(Setting(days=0.05))
    failed = Outcome(Setting(homes=7), Report(heights=3, fault=Fault(FaultKind.HALT, "home 1 stands", 5, 4)))
    # When they are told together
    found = table([fine, failed], "make chaos")
    rows = {str(row[0]): dict(zip(found.columns, row, strict=True)) for row in found.rows}
    # Then every number of homes has its row, and the last one is for all
    assert list(rows) == ["4", "7", "13", "all"]
    assert rows["all"]["runs"] == 2
    assert rows["all"]["halts"] == rows["7"]["halts"] == 1
    assert rows["4"]["heights"] == fine.report.heights
    assert rows["13"]["runs"] == 0


def test_a_mutant_that_was_not_caught_is_seen_in_its_row() -> None:
    caught = run_silently(with_mutant(Setting(), "wrong-committee"))
    missed = Outcome(with_mutant(Setting(seed=1), "wrong-committee"), Report(heights=9))
    found = mutants_table([caught, missed], "make mutants")
    rows = {str(row[0]): dict(zip(found.columns, row, strict=True)) for row in found.rows}
    assert set(rows) == set(MUTANTS)
    row = rows["wrong-committee"]
    assert (row["seeds"], row["caught"], row["named"], row["as"]) == (2, 1, 1, "violation")
