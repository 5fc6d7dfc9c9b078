"""A table that is filled anew at each change, without the reader losing the place.

1. The cursor stays on its row, by key; on the first row it stays first, so that a list of the
   newest follows the newest.
2. Columns come and go with the width: ``Column.from_width`` says from which width of the table on it is shown. One
   column may ``grow`` into what is left.
3. A row is a key and one cell per column, hidden columns included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable

from tui.palette import MUTED

Cell = Text | str
Row = tuple[str, Sequence[Cell]]
SCROLLBAR_CELLS = 2


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    width: int
    right: bool = False
    grow: bool = False
    from_width: int = 0


class LiveTable(DataTable[Text]):
    """Posts ``Chosen`` when the row under the cursor is another than before, and ``Opened`` on Enter or click."""

    DEFAULT_CSS = """
    LiveTable { height: 1fr; background: $surface; scrollbar-size-vertical: 1; overflow-x: hidden; }
    LiveTable:focus { background-tint: $foreground 0%; }
    LiveTable > .datatable--header { background: $surface; color: $muted; text-style: none; }
    LiveTable > .datatable--hover { background: $panel; }
    """

    class Chosen(Message):
        def __init__(self, table: LiveTable, key: str) -> None:
            super().__init__()
            self.table = table
            self.key = key

        @property
        def control(self) -> LiveTable:
            return self.table

    class Opened(Chosen):
        pass

    class AtEnd(Message):
        """The cursor stands on the last row: older ones may be read."""

        def __init__(self, table: LiveTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LiveTable:
            return self.table

    def __init__(self, columns: Sequence[Column], *, id: str | None = None) -> None:  # noqa: A002 (Textual's word)
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, show_row_labels=False)
        self._columns_wanted = tuple(columns)
        self._shown: tuple[tuple[int, int], ...] = ()  # (index of the column, its width)
        self._rows: list[Row] = []
        self._chosen: str | None = None

    @property
    def chosen(self) -> str | None:
        """The key of the row under the cursor."""
        return self._chosen

    @property
    def is_following(self) -> bool:
        """The cursor is on the first row."""
        return not self._rows or self._chosen in {None, self._rows[0][0]}

    def show_rows(self, rows: Sequence[Row]) -> None:
        following = self.is_following
        self._rows = list(rows)
        keys = [key for key, _ in self._rows]
        if following or self._chosen not in keys:
            self._choose(keys[0] if keys else None)
        self._fill()

    def choose_row(self, key: str) -> bool:
        """Puts the cursor on a row; False if there is none with this key."""
        if key not in (known for known, _ in self._rows):
            return False
        self._choose(key)
        self._place_cursor()
        return True

    def on_resize(self, event: Resize) -> None:
        if self._visible_columns() != self._shown:
            self._fill()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        key = event.row_key.value
        if key is None or event.cursor_row != self.cursor_row or not self._is_row(self.cursor_row, key):
            return  # the table has been filled again since
        self._choose(key)
        if len(self._rows) > 1 and key == self._rows[-1][0]:
            self.post_message(self.AtEnd(self))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.post_message(self.Opened(self, event.row_key.value))

    def _choose(self, key: str | None) -> None:
        if key == self._chosen:
            return
        self._chosen = key
        if key is not None:
            self.post_message(self.Chosen(self, key))

    def _is_row(self, row: int, key: str) -> bool:
        return 0 <= row < len(self._rows) and self._rows[row][0] == key

    def _fill(self) -> None:
        if not self.is_attached or self.size.width == 0:
            return
        # Where the chosen row stood on the screen, there it stays.
        offset = self.cursor_row - round(self.scroll_y)
        self._shown = self._visible_columns()
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for index, width in self._shown:
                column = self._columns_wanted[index]
                label = Text(column.label, justify="right" if column.right else "left", style=MUTED)
                self.add_column(label, width=width, key=str(index))
            for key, cells in self._rows:
                assert len(cells) == len(self._columns_wanted), "a cell for every column"
                self.add_row(*(self._cell(cells[index], index, width) for index, width in self._shown), key=key)
        self._place_cursor(offset)

    def _place_cursor(self, offset: int | None = None) -> None:
        row = next((place for place, (key, _) in enumerate(self._rows) if key == self._chosen), 0)
        with self.prevent(DataTable.RowHighlighted):
            self.move_cursor(row=row, animate=False, scroll=offset is None)
        if offset is not None:
            self.scroll_to(y=max(0, row - offset), animate=False, immediate=True)

    def _cell(self, cell: Cell, index: int, width: int) -> Text:
        text = Text(cell, no_wrap=True, end="") if isinstance(cell, str) else cell.copy()
        text.truncate(width, overflow="ellipsis")
        text.no_wrap = True
        if self._columns_wanted[index].right:
            text.pad_left(max(0, width - text.cell_len))
        return text

    def _visible_columns(self) -> tuple[tuple[int, int], ...]:
        width = self.size.width
        shown = [(k, column) for k, column in enumerate(self._columns_wanted) if column.from_width <= width]
        spare = width - SCROLLBAR_CELLS - sum(column.width + 2 * self.cell_padding for _, column in shown)
        return tuple((k, column.width + (max(0, spare) if column.grow else 0)) for k, column in shown)
