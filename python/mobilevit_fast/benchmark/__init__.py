"""Measures this project beside its peers in one process: for `mobilevit-fast bench` and benchmarks/."""
