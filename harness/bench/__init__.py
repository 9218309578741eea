"""Measurements on this host, from one run: medians or bests, and ratios between them."""
