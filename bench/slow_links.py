"""``make slow-links``: do neighbourhoods of 4 to 200 homes agree over lines of 256 kbit/s and 300 ms?

1. Each row is one simulated neighbourhood (``devnet.laboratory.slow_links`` says what is real in it), with the default
   block interval; Δ is the default as far as that suffices, and larger where a row says so.
2. Every home has 256 kbit/s up and 256 kbit/s down, whatever the number of its neighbours, and 150 ms to any other, one
   way: 300 ms there and back.
3. The result is a table in ``bench/results`` and a picture in ``docs/pictures``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.report import Cell, Table, save
from devnet.laboratory.slow_links import Figures, Setting, World

PICTURE: Final = Path(__file__).parent.parent / "docs" / "pictures" / "slow-links.png"
SETTINGS: Final = (
    Setting(homes=4, blocks=21),
    Setting(homes=10, blocks=13),
    Setting(homes=20, blocks=9),
    Setting(homes=40, blocks=7),
    Setting(homes=40, blocks=9, offline=4),
    Setting(homes=75, blocks=5),
    Setting(homes=100, blocks=4),
    Setting(homes=200, blocks=3, delta_ms=1_500),
)
COLUMNS: Final = (
    "homes",
    "away",
    "Δ, s",
    "final p50, s",
    "final p95, s",
    "up, kB/block",
    "down, kB/block",
    "busiest line up",
    "messages/block",
    "CPU, ms/block",
    "blocks",
    "of them late",
)
NOTES: Final = (
    "Bytes, messages and CPU are per home that is there, and block; final counts from a block's time to its commit at a"
    " home. Late are blocks made or made final after view 0.",
    "At 200 homes Δ = 1 s is too short: the notarization comes when views are being given up, and no block is made.",
    "Real: engine, relay, mesh, encoded messages, signed envelopes. Simulated: the lines, the blocks' content and its"
    " execution (50 ms); Ed25519 is counted, at its cost on this machine.",
    "What the lines carry besides is not in it: pings, transactions on their own topic, and what light clients ask.",
)


def main() -> None:
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task("blocks", total=sum(setting.blocks for setting in SETTINGS))
        results: list[tuple[Setting, Figures]] = []
        for setting in SETTINGS:
            progress.update(task, description=f"{setting.homes} homes")
            results.append((setting, World(setting, lambda _height: progress.advance(task)).run()))
    save(
        Table(
            name="slow-links",
            title="Agreement over lines of 256 kbit/s up and down and 300 ms there and back",
            command="make slow-links",
            columns=COLUMNS,
            rows=[_row(setting, figures) for setting, figures in results],
            notes=NOTES,
        )
    )
    draw(results, PICTURE)


def _row(setting: Setting, figures: Figures) -> list[Cell]:
    assert not figures.behind, "every home that is there has every block"
    return [
        setting.homes,
        setting.offline,
        setting.delta_ms / 1_000,
        round(figures.finality_p50_s, 2),
        round(figures.finality_p95_s, 2),
        round(figures.up_octets / 1_000, 1),
        round(figures.down_octets / 1_000, 1),
        f"{figures.busiest_up_share:.0%}",
        round(figures.messages),
        round(figures.cpu_ms, 1),
        figures.blocks - 1,
        figures.views_above_zero,
    ]


def draw(results: list[tuple[Setting, Figures]], path: Path) -> None:
    """Finality and bytes over the number of homes. Errors: OSError."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    full = [(setting, figures) for setting, figures in results if not setting.offline]
    homes = [setting.homes for setting, _ in full]
    picture, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), constrained_layout=True)
    left.plot(homes, [figures.finality_p50_s for _, figures in full], "o-", label="p50")
    left.plot(homes, [figures.finality_p95_s for _, figures in full], "o--", label="p95")
    left.set(title="From a block's time to its commit", xlabel="homes", ylabel="seconds", ylim=(0, None))
    left.legend(frameon=False)
    right.plot(homes, [figures.up_octets / 1_000 for _, figures in full], "o-", label="sent")
    right.plot(homes, [figures.down_octets / 1_000 for _, figures in full], "o--", label="received")
    right.set(title="Per home and block (a line: 480 kB)", xlabel="homes", ylabel="kB", ylim=(0, None))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.3)
    picture.savefig(path, dpi=110)
    plt.close(picture)


if __name__ == "__main__":
    main()
