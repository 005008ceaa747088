"""Metrics over a whole split, exact with any batch size and number of processes."""
