"""Every published figure comes from a command in this package; figures are ratios of one run on one machine."""
