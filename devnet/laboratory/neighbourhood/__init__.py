"""A neighbourhood's market in virtual time: what does it bring to live under one?

``setting``: what is asked for. ``founding``: who lives there, and the genesis. ``household``: one home and its
autopilot. ``world``: the chain, block by block. ``figures``: what came of it. ``tables``, ``plot``: the same as files.

1. Real are the ledger with every rule and check of it (conservation after each block), readings and orders with
   signatures that are made and verified, the draw of each block's producer with its VRF proof, and the autopilot.
   There is no network and no vote: each block is final when it is made, nobody is ever silent, and blocks are
   ``setting.BLOCK_INTERVAL_MS`` apart. All other parameters are a real neighbourhood's defaults.
2. Households and roofs are SimBench's, see ``home/profiles/ATTRIBUTION.md``; sizes and feeders are drawn from the seed.
   A roof's production is known to its home, as inverters tell it.
3. A home knows what it could know: its own measurements up to the last period that has ended, and the chain.
4. What remains after trades goes through a proportional sharing pool that all homes are in, unless left out.
"""
