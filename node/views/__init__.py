"""What a person may want to see of the chain, made from one snapshot of it; pure reading, no network, no clock.

``reader`` resolves names and decodes; each other module answers one subject with the types of ``node.client.models``.
"""
