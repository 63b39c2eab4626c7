"""The kinds of keys of the HTTP servers."""

from __future__ import annotations

from enum import StrEnum


class KeyKind(StrEnum):
    """What a key is for."""

    BROWSER = "browser"
    SERVER = "server"
    PLATFORM = "platform"
    READ = "read"
    MARKETING = "marketing"
