"""storage: the node's disk. It moves bytes and knows nothing of their meaning; synchronous."""
