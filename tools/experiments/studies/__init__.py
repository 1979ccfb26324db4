"""What this repository measures: tables of trained networks, and how masks rank.

The scripts beside this package are its command line. It is not installed.
"""
