"""Line charts over recent blocks or periods, in the colours of the roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from textual.color import Color
from textual.events import Resize
from textual_plotext import PlotextPlot

TALL_ENOUGH_FOR_MORE_TICKS = 8


@dataclass(frozen=True, slots=True)
class Series:
    values: Sequence[float]
    colour: str
    filled: bool = False


class Chart(PlotextPlot):
    """Values are drawn oldest first, from zero up; ``labels`` name the first and the last of them below the axis."""

    DEFAULT_CSS = "Chart { height: 1fr; background: $surface; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 (Textual's word)
        super().__init__(id=id, classes=classes)
        self._series: Sequence[Series] = ()
        self._labels = ("", "")

    def show_series(self, series: Sequence[Series], labels: tuple[str, str]) -> None:
        self._series, self._labels = series, labels
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        plot = self.plt
        plot.clear_figure()
        plot.frame(False)
        plot.grid(False, False)
        length = max((len(one.values) for one in self._series), default=0)
        if length > 1:
            top = max(value for one in self._series for value in one.values)
            for one in self._series:
                places = list(range(length - len(one.values), length))
                plot.plot(places, list(one.values), color=Color.parse(one.colour).rgb, marker="hd", fillx=one.filled)
            ticks = round_ticks(top, parts=1 if self.size.height < TALL_ENOUGH_FOR_MORE_TICKS else 4)
            plot.ylim(0, max(top * 1.05, ticks[-1]))
            plot.xlim(0, length - 1)
            plot.yticks(ticks, [f"{tick:g} " for tick in ticks])
            plot.xticks([0, length - 1], list(self._labels))
        self.refresh()


def round_ticks(top: float, parts: int) -> list[float]:
    """Zero and at most ``parts`` round values up to about ``top``; the last is at least half of it."""
    if top <= 0:
        return [0.0, 1.0]
    magnitude = 10.0 ** floor(log10(top))
    steps = [magnitude * factor for factor in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0)]
    step = next(step for step in steps if top / step < parts + 1)
    return [round(step * k, 9) for k in range(int(top / step) + 1)]
