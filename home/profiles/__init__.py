"""Real households and solar roofs, quarter hour by quarter hour: what a simulated meter measures."""
