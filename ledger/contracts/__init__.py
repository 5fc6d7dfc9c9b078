"""Contracts between neighbours: who produces offers energy at its price, within a template; others subscribe.

``templates`` (the two templates as data, and what follows from them), ``rules`` (offering, subscribing, changing the
price, ending), ``late`` (paying late), ``licences`` (what an approver attests), ``standing`` (which contracts count in
a period).
"""
