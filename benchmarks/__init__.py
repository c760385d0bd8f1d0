"""Benchmarks: trio_ws beside a bare Trio echo and beside its peers. See README.md."""
