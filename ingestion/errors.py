"""Errors that people read."""

from __future__ import annotations


class WarehouseError(Exception):
    """Something failed; the message says what, where and what to do, and holds no secret."""
