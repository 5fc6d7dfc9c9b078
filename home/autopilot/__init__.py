"""The autopilot: what a home would do in the market if somebody sat there all day, as pure functions.

1. ``decide(view) -> actions``. A ``View`` is all that is known at one moment: the terms of the market, what the owner
   allows, the house's own metered history, the books, own orders and trades. The actions are orders to place or to take
   out, each with one line for people that says why. Whoever calls signs and sends them, and fills in the next view.
2. Nothing here reads a clock, a file or a network, or draws a random number: the same view gives the same actions.
   Everything that becomes an order is reckoned in integers. Only ``ledger`` is imported.
3. Nobody is to be worse off than with the utility alone. A purchase costs at the most retail, grid fee included; a sale
   brings at least feed-in; what is bought and not used, or sold and not produced, is priced in (``strategy``).

``types``: what goes in and what comes out. ``forecast``: load and production of the coming periods. ``battery``,
``vehicle``, and for both ``devices``: what a storage and a car make of them. ``prices``: what energy is worth without a
trade. ``strategy``: the decision.
"""

from __future__ import annotations

from home.autopilot.battery import Battery
from home.autopilot.devices import charging_wh
from home.autopilot.strategy import decide
from home.autopilot.types import (
    Action,
    Book,
    Cancel,
    Limits,
    Measured,
    OpenOrder,
    Place,
    Terms,
    Totals,
    View,
    terms_of,
)
from home.autopilot.vehicle import Vehicle

__all__ = [
    "Action",
    "Battery",
    "Book",
    "Cancel",
    "Limits",
    "Measured",
    "OpenOrder",
    "Place",
    "Terms",
    "Totals",
    "Vehicle",
    "View",
    "charging_wh",
    "decide",
    "terms_of",
]
