"""The one form of all errors: what went wrong, in which words, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, Field
from starlette.responses import Response

# How long a client shall wait while the database is away.
RETRY_SECONDS = 5


class ErrorAnswer(BaseModel):
    """An error."""

    error: str = Field(description="What kind of error it is, for programs.")
    detail: str = Field(description="What is wrong.")
    hint: str | None = Field(description="What would be right.")


class ApiError(Exception):
    """An answer other than the one that was asked for."""

    def __init__(
        self,
        status: int,
        error: str,
        detail: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.error = error
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The answer's body: an ErrorAnswer."""
        return {"error": self.error, "detail": self.detail, "hint": self.hint}

    def response(self) -> Response:
        """Return the answer; it is never cached."""
        return Response(
            msgspec.json.encode(self.body),
            self.status,
            self.headers | {"Cache-Control": "no-store"},
            "application/json",
        )


def bad_request(detail: str, hint: str | None = None) -> ApiError:
    """Return the answer to a request that can't be understood."""
    return ApiError(400, "bad_request", detail, hint)


def unauthorized(detail: str) -> ApiError:
    """Return the answer to a request without a valid key."""
    return ApiError(
        401,
        "unauthorized",
        detail,
        "Send `Authorization: Bearer KEY` with a key of `warehouse keys create`.",
        {"WWW-Authenticate": "Bearer"},
    )


def forbidden(detail: str, hint: str | None = None, *, error: str = "forbidden") -> ApiError:
    """Return the answer to a request for what its key may not have."""
    return ApiError(403, error, detail, hint)


def not_found(detail: str, hint: str | None = None) -> ApiError:
    """Return the answer to a request for what there is not."""
    return ApiError(404, "not_found", detail, hint)


def too_many(per_minute: int, seconds: int) -> ApiError:
    """Return the answer to one request more than a minute may have."""
    return ApiError(
        429,
        "too_many_requests",
        f"More than {per_minute:,} requests in this minute.",
        f"Try again in {seconds} s.",
        {"Retry-After": str(seconds)},
    )


def unavailable(
    error: str, detail: str, hint: str | None = None, seconds: int = RETRY_SECONDS
) -> ApiError:
    """Return the answer to a request that can't be served now."""
    return ApiError(503, error, detail, hint, {"Retry-After": str(seconds)})


def not_built(mart: str) -> ApiError:
    """Return the answer to a request for a mart that no build has made yet."""
    return unavailable(
        "not_built",
        f"{mart} is not built yet.",
        "It is there after the next `warehouse build`.",
        60,
    )
