"""Experiments: tables of trained networks, and how well a supernet ranks masks.

The tools in ``tools/experiments`` are the command line of what is here.
"""
