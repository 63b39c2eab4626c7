"""Makes a warehouse process independent of the environment of the shell that started it.

Child processes inherit this: Dagster runs, dbt, the embedded server's tools.
"""

from __future__ import annotations

import io
import os
import sys
import time


def isolate() -> None:
    """Make new files private, and ignore variables that set a time zone or an encoding."""
    os.umask(0o077)
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.environ["PYTHONUTF8"] = "1"
    os.environ.pop("PYTHONIOENCODING", None)


def speak_utf8() -> None:
    """Use UTF-8 for output, file names and files, whatever the locale.

    Python chooses the encoding of file names and files at its start, so this restarts it if the
    locale has chosen another encoding.
    """
    started_again = os.environ.get("PYTHONUTF8") == "1"
    isolate()
    if sys.getfilesystemencoding() != "utf-8" and not started_again:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Invalid text, such as half a character in a file name, is printed as an escape.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
