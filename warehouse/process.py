"""Makes a process of the warehouse independent of the shell or service that started it.

Its child processes inherit that: runs of Dagster, dbt, the embedded server's tools.
"""

from __future__ import annotations

import io
import os
import sys
import time


def isolate() -> None:
    """Make new files private, and let no variable choose a time zone or an encoding."""
    os.umask(0o077)
    os.environ["TZ"] = "UTC"
    time.tzset()
    os.environ["PYTHONUTF8"] = "1"
    os.environ.pop("PYTHONIOENCODING", None)


def speak_utf8() -> None:
    """Write UTF-8, and read file names and files as UTF-8, whatever the locale.

    Python decides the latter once, as it starts: under another locale it is started again.
    """
    started_again = os.environ.get("PYTHONUTF8") == "1"
    isolate()
    if sys.getfilesystemencoding() != "utf-8" and not started_again:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What is no text, such as half a character in a file's name, is shown by its number.
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
