"""A refused line is an erased subject's by one rule: what the search finds, no loader lets in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from ingestion.erased import MOST_BYTES, Erased, Subject, SubjectKind, subject_hash
from ingestion.judge import Accepted, Judge, Rejected, Suppressed
from ingestion.line import Reason
from tests.conftest import examples
from tests.lines import event, value
from tests.people import HOSTILE

KEY = b"k" * 32
READ, UNREAD = Reason.UNKNOWN_EVENT, Reason.INVALID_JSON
OLD = range(1, MOST_BYTES + 1)


def is_suppressed(
    subject: Subject, line: bytes, reason: Reason, lengths: Sequence[int] = ()
) -> bool:
    """What a loader says; of an erasure that is older than their column it knows no lengths."""
    text, client = subject.identifier, subject.of_client
    digests = [frozenset({subject_hash(KEY, text, client)}), frozenset()]
    erased = Erased(
        1,
        KEY,
        *(digests if client is None else reversed(digests)),
        frozenset() if client is None else frozenset({subject_hash(KEY, text)}),
        lengths or [len(text.encode())],
    )
    return erased.is_in_refused(line, reason)


def is_found(connection: psycopg.Connection, subject: Subject, line: bytes, reason: Reason) -> bool:
    """What the search says of the same line in the quarantine."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            "insert into staging.rejected_events "
            "(batch_seq, line_number, reason, detail, payload, received_at) "
            "values (1, 1, %s, '', %s, now())",
            (reason.value, line),
        )
        condition = value(
            connection,
            "select warehouse.condition_of_holding('staging.rejected_events', %s)",
            subject.of_client is not None,
        )
        given = condition.replace("%", "%%").replace("$1", "%(id)s").replace("$2", "%(client)s")
        query = sql.SQL("select exists (select from staging.rejected_events where {})")
        ((found,),) = connection.execute(
            query.format(sql.SQL(given)),
            {"id": subject.identifier, "client": subject.of_client},
        )
        return found


def user(identifier: str) -> Subject:
    return Subject(SubjectKind.USER, identifier)


def lead(identifier: str) -> Subject:
    return Subject(SubjectKind.LEAD, identifier, "acme")


CASES = [
    # Lines that are no JSON: where the identifier stands alone, however it is written.
    (user("ann"), b"{'event': 'chat', 'actor': {'user_id': 'ann'}}", UNREAD, True),
    (user("ann"), b"event=chat&client_id=acme&user_id=ann", UNREAD, True),
    (user("ann"), b"user-ann, anna, ann_, an n", UNREAD, False),
    (user("Ann Lee"), b"user: Ann Lee (new)", UNREAD, True),
    (user("caf\u00e9"), b'{"user_id": "caf\\u00E9"', UNREAD, True),
    (user("\U0001f600"), b'{"user_id": "\\ud83d\\uDE00"', UNREAD, True),
    (user("CORP\\ann"), b'{"user_id": "CORP\\\\ann"', UNREAD, True),
    (user('O"Neil'), b'{"user_id": "O\\"Neil"', UNREAD, True),
    (user('O"Neil'), b'1,"O""Neil",x', Reason.UNKNOWN_FIELD, True),
    (user("ann"), b"\xff\x00ann\x00", Reason.INVALID_ENCODING, True),
    # Objects: as a whole string, a name or a value, and not within one.
    (user("ann"), b'{"event": "x", "to": "ask ann", "n": 7}', READ, False),
    (user("7"), b'{"event": "x", "at": "7:00", "n": 7}', READ, False),
    (user("ann"), b'{"event": "x", "to": {"ann": 1}}', READ, True),
    (user("CORP\\ann"), b'{"event": "x", "u": "CORP\\\\ann"}', READ, True),
    (user('O"Neil'), b'{"event": "x", "u": "O\\u0022Neil", "v": "\\u0000"}', READ, True),
    # Of one client: what tells its client, is its alone; what does not, may be anybody's.
    (lead("ann"), b'{"event": "x", "client_id": "acme", "lead_id": "ann"}', READ, True),
    (lead("ann"), b'{"event": "x", "client_id": "beta", "lead_id": "ann"}', READ, False),
    (lead("ann"), b'{"actor": {"client_id": "beta"}, "client_id": "acme", "":"ann"}', READ, False),
    (lead("ann"), b'{"client_id": 7, "lead_id": "ann"}', READ, True),
    (lead("ann"), b'{"event": "x", "actor": {"lead_id": "ann"', UNREAD, True),
]  # fmt: skip


def test_a_refused_line_is_its_subjects(warehouse: psycopg.Connection) -> None:
    for subject, line, reason, holds in CASES:
        assert is_found(warehouse, subject, line, reason) == holds, line
        assert is_suppressed(subject, line, reason) == holds, line
        if subject.of_client is None:
            assert is_suppressed(subject, line, reason, OLD) == holds, line


NAMES = [*HOSTILE, "a", "7", "ann", "ann lee", "-", "\\", '"', "\\n", "\n", "n", "\u00e9"]
ids = st.sampled_from(NAMES) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4
)
OTHERS = (
    b'"', b"'", b" ", b",", b"=", b"{", b"}", b":", b"\\", b"\\\\", b"\\u", b"\\ud83d", b"\\u0000",
    b"\x00", b"\xff", b"\xc3", b"\xa9", b"\\", b"a", b"7", b"_", b"-", b'""', b"\n", b"client_id",
)  # fmt: skip


@st.composite
def lines_about(draw: st.DrawFn, name: str) -> bytes:
    """Bytes of any kind, the name among them in any of its spellings, or an object with it."""
    written = [
        name.encode(),
        json.dumps(name).encode(),
        json.dumps(name, ensure_ascii=False).encode(),
        b'"%b"' % name.replace('"', '""').encode(),
        repr(name).encode(),
    ]
    if draw(st.booleans()):
        texts = st.sampled_from([name, f"{name} ", "acme", "beta", "a", "\0", 7, None])
        names = st.sampled_from([name, "x", "client_id", "actor"])
        content = draw(
            st.dictionaries(names, texts | st.lists(texts, max_size=2), max_size=3)
            | st.fixed_dictionaries({"actor": st.dictionaries(names, texts, max_size=2)})
        )
        return json.dumps(content, ensure_ascii=draw(st.booleans())).encode()
    parts = st.sampled_from(written) | st.sampled_from(OTHERS) | st.binary(max_size=3)
    return b"".join(draw(st.lists(parts, max_size=8)))


@examples(200)
@given(data=st.data(), name=ids, reason=st.sampled_from(list(Reason)), of_one=st.booleans())
def test_what_the_search_finds_no_loader_lets_in_and_the_other_way_round(
    warehouse: psycopg.Connection, data: st.DataObject, name: str, reason: Reason, of_one: bool
) -> None:
    line = data.draw(lines_about(name))
    subject = lead(name) if of_one else user(name)
    found = is_found(warehouse, subject, line, reason)
    assert is_suppressed(subject, line, reason) == found


@pytest.mark.parametrize(
    ("number", "else_it_is"),
    [
        ("7", Accepted),
        ("9" * 40 + "e308", Accepted),
        ('"\\ud83d\\ude00"', Accepted),
        ("1e999", Rejected),
        ("1" * 5_000, Rejected),
        ('"\\u0000"', Rejected),
    ],
)
def test_an_event_is_suppressed_whatever_else_it_holds(number: str, else_it_is: type) -> None:
    digest = frozenset({subject_hash(KEY, "ann")})
    erased = Erased(1, KEY, digest, frozenset(), frozenset(), [3])
    told = event(1, event="chat", actor={"client_id": "acme", "user_id": "ann"})
    line = json.dumps(told | {"properties": {"x": "?"}}).replace('"?"', number)
    verdicts = [
        Judge(datetime.now(UTC), b"s" * 32, 1, one).judge(line.encode()) for one in (None, erased)
    ]
    assert [type(verdict) for verdict in verdicts] == [else_it_is, Suppressed]
