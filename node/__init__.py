"""One participant: wires the rooms below together, keeps the keys, and answers its household through the local API.

Read in this order: ``configuration``, ``mempool``, ``gossip``, ``sync``, ``driver``, ``node``; then ``service``,
``api`` and ``client``.
"""
