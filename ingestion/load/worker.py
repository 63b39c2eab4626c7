"""A worker process: validates the chunks that its loader sends, until the loader ends.

Its standard input is one end of a pair of sockets, whose other end only the loader has: so it also
ends when the loader is killed.
"""

from __future__ import annotations

import pickle
import socket
import struct
import traceback
from dataclasses import replace
from typing import Any

from ingestion.contract.validator import Receipt
from ingestion.load.chunks import RawChunk
from ingestion.load.validation import ValidatedChunk, validate_raw

# A message: the lengths of its pickle and of the bytes beside it, and these.
_lengths = struct.Struct("!QQ")


def send(connection: socket.socket, message: object) -> None:
    """Send a message. Raises ConnectionError if the other process has ended."""
    beside: list[pickle.PickleBuffer] = []
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL, buffer_callback=beside.append)
    buffers = [buffer.raw() for buffer in beside]
    connection.sendall(_lengths.pack(len(content), sum(map(len, buffers))))
    for part in (content, *buffers):
        connection.sendall(part)


def receive(connection: socket.socket) -> Any:
    """Receive a message. Raises ConnectionError if the other process has ended."""
    length, beside = _lengths.unpack(_receive(connection, _lengths.size))
    content, buffer = _receive(connection, length), _receive(connection, beside)
    # Of a message, nothing but one of these is beside its pickle.
    return pickle.loads(content, buffers=[buffer])  # noqa: S301 - only the two processes send


def _receive(connection: socket.socket, length: int) -> bytes:
    # In one call, without the interpreter lock. A signal may end it early.
    content = connection.recv(length, socket.MSG_WAITALL)
    while len(content) < length:
        more = connection.recv(length - len(content), socket.MSG_WAITALL)
        if not more:
            raise ConnectionResetError
        content += more
    return content


def work(connection: socket.socket) -> None:
    """Answer each chunk with the outcomes of its lines, or with the exception that was raised.

    The first message says that the process has started. The subjects that were erased come only
    when they are others than before.
    """
    send(connection, None)
    erased = None
    while True:
        raw, receipt, is_as_before = receive(connection)
        erased = erased if is_as_before else receipt.erased
        send(connection, _outcome(raw, replace(receipt, erased=erased)))


def _outcome(raw: RawChunk, receipt: Receipt) -> ValidatedChunk | Exception:
    try:
        return validate_raw(raw, receipt)
    except Exception as error:
        return _portable(error)


def _portable(error: Exception) -> Exception:
    """Return an exception that the loader can raise, with its traceback as a note."""
    try:
        portable = pickle.loads(pickle.dumps(error))  # noqa: S301 - it was made here
    except Exception:
        portable = RuntimeError(f"{type(error).__name__}: {error}")
    portable.add_note("".join(traceback.format_exception(error)))
    return portable


def main() -> None:
    """Work for the process at the other end of standard input."""
    with socket.socket(fileno=0) as connection:
        try:
            work(connection)
        except ConnectionError:
            return


if __name__ == "__main__":
    main()
