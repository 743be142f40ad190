"""For engineers: how small and how fast beside others, why a delta is as large as it is, what a cut leaves.

Uses the public commands and faces only. ``bench`` measures, ``explain`` accounts for every byte of a delta,
``matrix`` makes all deltas of a release day, ``torture`` breaks things.
"""
