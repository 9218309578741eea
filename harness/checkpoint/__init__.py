"""Whole labs, saved at a point and resumed in a new sealed lab.

``store`` keeps what was saved: folders under a key, complete or not there at all.
"""
