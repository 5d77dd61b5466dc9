"""The programs behind every figure in the documents: `python -m benchmarks.NAME` prints a table, then one JSON line.

Each measures both sides of its comparison in one run. `python -m benchmarks` lists the names.
"""
