"""Who produces the next block and when it is final. Sans-IO: no clock, no sockets, no disk; integers only.

Read in this order: ``block`` and ``messages`` (what travels), ``committee`` and ``draw`` (whose turn), ``vrf`` (the
beacon), ``chain_rules`` (what makes a block valid), ``engine`` (agreement at one height).
"""
