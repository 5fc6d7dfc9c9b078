"""What the laboratory's pictures have in common: the same figures give the same bytes with the same matplotlib.

Matplotlib's own defaults, whatever the machine's are; no metadata, no clock. Colours are Okabe and Ito's where many
stand side by side, which people with any colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK: Final = "#222222"
FAINT: Final = "#DDDDDD"


def write_png(path: Path, draw: Callable[[], Figure]) -> None:
    """Has the figure drawn in the common style, and writes it. Errors: OSError."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.size": 9,
                "axes.edgecolor": INK,
                "axes.labelcolor": INK,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "agg.path.chunksize": 0,
            }
        )
        figure = draw()
        FigureCanvasAgg(figure)  # the figure draws itself on it
        figure.savefig(path, format="png", metadata={"Software": None})
