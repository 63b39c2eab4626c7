"""What the collector answers where it takes nothing."""

from __future__ import annotations

from collections.abc import Mapping


class RefusedError(Exception):
    """A request is refused as a whole: the status, what is wrong, and what to do about it."""

    def __init__(
        self, status: int, error: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.headers = dict(headers or {})


def retry_later(status: int, error: str, detail: str, seconds: int) -> RefusedError:
    """Return a refusal that names the seconds after which the same request may be accepted."""
    return RefusedError(status, error, detail, {"Retry-After": str(seconds)})
