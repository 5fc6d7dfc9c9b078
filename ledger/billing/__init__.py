"""Bills: what a cycle's lines come to for each member, recorded once, paid once.

``bills`` reads (a dry run anyone can make), ``recording`` has the two transactions, ``upkeep`` what every block does.
"""
