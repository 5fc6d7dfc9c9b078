"""Chaos: the node's real consensus, ledger, mempool, sync and journal, in virtual time, under faults and enemies."""
