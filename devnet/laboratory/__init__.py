"""Experiments on the rules, reproducible from a seed."""
