"""What was agreed against what was metered: who owes whom for a period, to the unit.

Pure parts, which know no state: ``pair`` (which Wh goes from whom to whom), ``settle`` (a whole period), ``residual``
(what a reading that came late changes). On the state: ``periods`` (in the block), ``silence``, ``minting``, ``lines``.
"""
