"""The energy market: one book per delivery period, in lots of 10 Wh at prices in ticks of 100 uwatt per kWh.

Pure parts, which know no state: ``grid_fee`` (what the grid costs), ``matching`` (continuous trading), ``book`` (the
same in memory), ``auction`` (all at once, at gate closure). On the state: ``terms`` (what holds for a period),
``open_orders`` (who holds which tokens), ``orders`` (the transactions), ``closing`` (gate closure).
"""
