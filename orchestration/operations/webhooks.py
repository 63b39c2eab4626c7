"""Posts messages to the webhook of the settings, in the format that it takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from warehouse.errors import WarehouseError
from warehouse.settings import AlertFormat, settings

TIMEOUT_SECONDS = 10
BACKOFF_SECONDS = 1
# In characters, of what Discord and PagerDuty take.
LONGEST_DISCORD, LONGEST_PAGERDUTY = 2000, 1024


class Severity(StrEnum):
    """How bad it is that something is said."""

    ERROR = "error"
    WARNING = "warning"
    RECOVERED = "recovered"
    DIGEST = "digest"


EMOJI = {
    Severity.ERROR: (":red_circle:", "\N{LARGE RED CIRCLE}"),
    Severity.WARNING: (":warning:", "\N{WARNING SIGN}"),
    Severity.RECOVERED: (":large_green_circle:", "\N{LARGE GREEN CIRCLE}"),
    Severity.DIGEST: (":clipboard:", "\N{CLIPBOARD}"),
}


class Subject(msgspec.Struct, frozen=True):
    """What a message is about.

    ``key`` is the same in each message about it. ``text`` is its line, empty where the title says
    all.
    """

    key: str
    since: datetime | None = None
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    """A notification: severity, a title of one line, what it is about, and where to look."""

    severity: Severity
    title: str
    subjects: list[Subject]
    link: str

    def text(self, emoji: str) -> str:
        """Return it as text: a line for the title, each subject and the link."""
        lines = [subject.text for subject in self.subjects if subject.text]
        return "\n".join([f"{emoji} {self.title}", *lines, self.link])


def _slack(message: Message) -> list[dict[str, Any]]:
    text = message.text(EMOJI[message.severity][0])
    # Slack reads <!channel> as a mention of everybody, even in the name of a file.
    return [{"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}]


def _discord(message: Message) -> list[dict[str, Any]]:
    text = message.text(EMOJI[message.severity][1])
    return [{"content": text[:LONGEST_DISCORD], "allowed_mentions": {"parse": []}}]


def _plain(message: Message) -> list[dict[str, Any]]:
    return [msgspec.to_builtins(message)]


def _pagerduty(message: Message) -> list[dict[str, Any]]:
    """Return an event of its Events API v2 for each subject; a digest opens no incident."""
    key = settings().alert_routing_key
    if message.severity is Severity.DIGEST or key is None:
        # Without its key the settings refuse this format.
        return []
    is_over = message.severity is Severity.RECOVERED
    return [
        {
            "routing_key": key.get_secret_value(),
            "event_action": "resolve" if is_over else "trigger",
            "dedup_key": f"warehouse {subject.key}",
            "payload": {
                "summary": (subject.text or message.title)[:LONGEST_PAGERDUTY],
                "source": "warehouse",
                "severity": "info" if is_over else str(message.severity),
            },
            "links": [{"href": message.link, "text": "In Dagster"}],
        }
        for subject in message.subjects
    ]


FORMATS: dict[AlertFormat, Callable[[Message], list[dict[str, Any]]]] = {
    AlertFormat.SLACK: _slack,
    AlertFormat.DISCORD: _discord,
    AlertFormat.PLAIN: _plain,
    AlertFormat.PAGERDUTY: _pagerduty,
}


class WebhookError(WarehouseError):
    """The webhook did not accept a message."""


def post_to_webhook(message: Message) -> None:
    """Post a message in the webhook's format, if a webhook is set. Raises WebhookError."""
    webhook = settings().alert_webhook
    if webhook is None:
        return
    with requests.Session() as session:
        retries = Retry(
            total=3,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=[429, 500, 502, 503, 504],
            allowed_methods=None,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        try:
            for content in FORMATS[settings().alert_format](message):
                session.post(
                    webhook.get_secret_value(), json=content, timeout=TIMEOUT_SECONDS
                ).raise_for_status()
        except requests.RequestException as error:
            # The address is a secret, and requests quotes it in its errors.
            raise WebhookError(
                f"WAREHOUSE_ALERT_WEBHOOK did not accept a message: {type(error).__name__}."
            ) from None
