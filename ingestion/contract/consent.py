"""Decides whether an event that needs consent has it: the only place of this rule."""

from __future__ import annotations

from typing import Any

# Sources where tracking needs an opt-in. Other sources are responsible for consent themselves.
BROWSER_SOURCES = frozenset({"web", "marketing_site"})
# In Python `true` and 1.0 equal 1, and `false` equals 0.
DO_NOT_TRACK = frozenset({1, "1", "true", "yes", "on"})
DENIED = frozenset({0, "0", "false", "no", "off", "denied"})
# Includes booleans, which are ints in Python.
_NUMBERS = (int, float)


def consents(dnt: Any, consent: Any, analytics: Any, source: Any) -> bool:
    """Return whether a person consents, by ``dnt``, ``consent``, its ``analytics`` and ``source``.

    These are members of a context and may be of any JSON type. A refusal counts in any of its
    spellings; only `true` is an opt-in.
    """
    if _matches(dnt, DO_NOT_TRACK) or _matches(consent, DENIED) or _matches(analytics, DENIED):
        return False
    return analytics is True or not _matches(source, BROWSER_SOURCES)


def context_consents(context: Any) -> bool:
    """Return whether the person consents, by a parsed context of any shape."""
    if not isinstance(context, dict):
        return True
    consent = context.get("consent")
    analytics = consent.get("analytics") if isinstance(consent, dict) else None
    return consents(context.get("dnt"), consent, analytics, context.get("source"))


def _matches(value: Any, meanings: frozenset[Any]) -> bool:
    if value is None:
        return False
    if isinstance(value, str):
        return value.strip().lower() in meanings
    return isinstance(value, _NUMBERS) and value in meanings
