"""The local API: what a household's programs may ask of its node, over HTTP on loopback and a unix socket.

Only the running node imports ``server``: FastAPI takes half a second to import.
"""
