"""Whether an event that needs consent has it."""

from __future__ import annotations

from typing import Any

# Where nothing is tracked before the person has opted in; other sources answer for it themselves.
BROWSER_SOURCES = frozenset({"web", "marketing_site"})
# `true` and 1.0 equal 1, and `false` equals 0.
DO_NOT_TRACK = frozenset({1, "1", "true", "yes", "on"})
DENIED = frozenset({0, "0", "false", "no", "off", "denied"})
# Booleans are among them.
_NUMBERS = (int, float)


def consents(dnt: Any, consent: Any, analytics: Any, source: Any) -> bool:
    """Decide by members of a context: ``dnt``, ``consent``, ``consent.analytics`` and ``source``.

    Each may be of any JSON type. A refusal counts however it is written; an opt-in is `true` alone.
    """
    if _says(dnt, DO_NOT_TRACK) or _says(consent, DENIED) or _says(analytics, DENIED):
        return False
    return analytics is True or not _says(source, BROWSER_SOURCES)


def context_consents(context: Any) -> bool:
    """Decide by a parsed context, which may be of any shape and lack every member."""
    if not isinstance(context, dict):
        return True
    consent = context.get("consent")
    analytics = consent.get("analytics") if isinstance(consent, dict) else None
    return consents(context.get("dnt"), consent, analytics, context.get("source"))


def _says(value: Any, meanings: frozenset[Any]) -> bool:
    if value is None:
        return False
    if isinstance(value, str):
        return value.strip().lower() in meanings
    return isinstance(value, _NUMBERS) and value in meanings
