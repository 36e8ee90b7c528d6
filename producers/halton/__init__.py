"""The simulated borough: a made-up Halton in which every child, number and address is invented.

Everything is a pure function of a seed and a span of time, so a test, a demo and an oracle see the same children.
Truth (`truth.py`) is kept beside the facts and never travels with them.
"""
