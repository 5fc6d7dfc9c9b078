"""The screens, one module each, in the order in which the top bar lists them."""

from __future__ import annotations

from typing import Final

from tui.screens.base import LiveScreen
from tui.screens.bills import BillsScreen
from tui.screens.chain import ChainScreen
from tui.screens.election import ElectionScreen
from tui.screens.market import MarketScreen
from tui.screens.network import NetworkScreen
from tui.screens.overview import OverviewScreen
from tui.screens.wallet import WalletScreen

SCREENS: Final[tuple[type[LiveScreen], ...]] = (
    OverviewScreen,
    ChainScreen,
    ElectionScreen,
    MarketScreen,
    BillsScreen,
    WalletScreen,
    NetworkScreen,
)
PLACES: Final = tuple(screen.PLACE for screen in SCREENS)
