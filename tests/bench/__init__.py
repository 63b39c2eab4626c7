"""Benchmarks, run by `python -m tests.bench`: each promise of speed and size against its goal."""
