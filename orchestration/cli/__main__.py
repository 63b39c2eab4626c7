"""Runs the command line as `python -m orchestration.cli`."""

from __future__ import annotations

from orchestration.cli.app import main

if __name__ == "__main__":
    main()
