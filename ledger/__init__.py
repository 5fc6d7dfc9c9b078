"""What a transaction means: pure functions on a state, integers only, no I/O, no clock, no randomness.

Read in this order: ``encoding`` and ``keys`` (bytes), ``refusal`` (why not), ``parameters`` and ``records`` (what
there is), ``state`` (where it is kept), ``transactions`` (what may be asked), then the rooms' verbs; ``market``
(orders, books, gate closure) and ``settlement`` (what was agreed against what was metered) are rooms of their own.
"""
