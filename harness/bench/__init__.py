"""Measurements on this host, from one run: medians, and ratios between them."""
