"""How programs speak to a node: types (``models``), events (``events``), the client itself.

``cli``, ``tui``, ``home`` and ``devnet`` import nothing else of the node. Nothing here imports the node's other rooms.
"""
