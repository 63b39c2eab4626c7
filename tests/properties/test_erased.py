"""An erased subject is known by one rule: what the search finds, no loader lets in."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from ingestion.contract.line import Reason
from ingestion.contract.tracking_plan import tracking_plan
from ingestion.contract.validator import (
    COPY_COLUMNS,
    Accepted,
    Receipt,
    Rejected,
    Suppressed,
    Validator,
)
from ingestion.load.entities import SHAPES
from ingestion.privacy import name_forms
from ingestion.privacy.name_forms import normalized_identifier
from ingestion.privacy.suppression import (
    LONGEST_SOUGHT_IDENTIFIER,
    Erased,
    Subject,
    SubjectKind,
    subject_hash,
)
from tests.conftest import DEEP, examples
from tests.support.lines import event, value
from tests.support.people import HOSTILE

KEY = b"k" * 32
READ, UNREAD = Reason.UNKNOWN_EVENT, Reason.INVALID_JSON
OLD = range(1, LONGEST_SOUGHT_IDENTIFIER + 1)


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
        lengths or [len(normalized_identifier(text))],
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
    (user("Ann@X.com"), b"user=ann@x.COM;", UNREAD, True),
    (user("ann@x.com"), b"user=ann%40x.com;", UNREAD, True),
    (user("Ann Lee"), b"user=Ann+Lee&x", UNREAD, True),
    # Objects: as a whole string or number, a name or a value, and not within one.
    (user("ann"), b'{"event": "x", "to": "ask ann", "n": 7}', READ, False),
    (user("7"), b'{"event": "x", "at": "7:00", "n": 8}', READ, False),
    (user("7"), b'{"event": "x", "at": "7:00", "n": 7}', READ, True),
    (user("7"), b'{"event": "x", "n": [70, 7.0]}', READ, True),
    (user("7"), b'{"event": "x", "n": 0.7e1}', READ, True),
    # What the contract declares as a number measures, and names nobody.
    (user("7"), b'{"context": {"sequence": 7}, "properties": {"rating": 7}}', READ, False),
    (user("ann@x.com"), b'{"event": "x", "to": " Ann@X.com "}', READ, True),
    (user("Ann"), b'{"event": "x", "to": "ann"}', READ, False),
    (user("ann@x.com"), b'{"event": "x", "to": "mailto:ann@x.com?subject=a"}', READ, True),
    (user("ann"), b'{"event": "x", "to": "{\\"by\\": [\\"ann\\"]}"}', READ, True),
    (user("ann"), b'{"event": "x", "to": "{{ann}}"}', READ, False),
    # Addresses that have it as a part.
    (user("ann"), b'{"event": "x", "to": "https://x.org/users/ann?a=1"}', READ, True),
    (user("ann@x.com"), b'{"event": "x", "to": "/login?next=%2Fu%2Fann%2540x.com"}', READ, True),
    (user("ann"), b'{"event": "x", "to": "https://x.org/users/anna?a=ann1"}', READ, False),
    (user("ann"), b'{"event": "x", "to": {"ann": 1}}', READ, True),
    (user("CORP\\ann"), b'{"event": "x", "u": "CORP\\\\ann"}', READ, True),
    (user('O"Neil'), b'{"event": "x", "u": "O\\u0022Neil", "v": "\\u0000"}', READ, True),
    # Of one client: a line that names its client is only that client's; another may be anybody's.
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
TEXT = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAMES += ["Ann.Lee@Example.com", "12345", "-5", "0.50", "acme.com", "a/b", "a+b", "%41", "é" * 256]
ids = (st.sampled_from(NAMES) | st.text(TEXT, min_size=1, max_size=4)).filter(normalized_identifier)
OTHERS = (
    b'"', b"'", b" ", b",", b"=", b"{", b"}", b":", b"\\", b"\\\\", b"\\u", b"\\ud83d", b"\\u0000",
    b"\x00", b"\xff", b"\xc3", b"\xa9", b"\\", b"a", b"7", b"_", b"-", b'""', b"\n", b"client_id",
)  # fmt: skip


# Ways to write a name that people call the same, and what stands around it.
FORMS: list[Callable[[str], str]] = [
    str, str.upper, lambda n: f" {n}\t", lambda n: f"mailto:{n}", lambda n: f"urn:user:{n}",
    lambda n: f"mailto:{quote(n, safe='')}?subject=x", lambda n: f"/users/{n}/orders",
    lambda n: f"https://x.org/{quote(n, safe='')}", lambda n: f"https://{n}@www.{n}:80/",
    lambda n: f"/find?q={quote_plus(n)}&page=2#{n}", lambda n: f"GET /users/{n}",
    lambda n: f"/login?next={quote('/u/' + quote(n, safe=''), safe='')}", lambda n: f"{n}.0",
    lambda n: json.dumps({"by": [n]}), lambda n: json.dumps(json.dumps({"by": n})),
    lambda n: f'["{n}"', lambda n: f"{{{{{n}}}}}", lambda n: f"ask {n}", lambda n: f"{n}x",
    lambda n: f"dir/{n}.ndjson.gz", lambda n: "/" + "".join(f"%{b:02x}" for b in n.encode()),
    lambda n: "".join(f"\\u{ord(c):04X}" if ord(c) < 65536 else c for c in n),
    lambda n: f"/{n}".replace("%", "%25").replace("2", "%32").replace("a", "%%361"),
    lambda n: "".join(f"\\{c}" if c not in "bfnrtu" else c for c in n),
]  # fmt: skip
ODD = [
    *"/?#&=;:@%+. {}[]\",\\\n-_7", "\\u0000", "\\ud83d", "%00", "%zz", "%E9", "//", "http:",
    "1e999",
    '"rating":', "\\\"", "\u00a0", "\x85", "\u202e", "\ufeff", "e\u0301", "1" * 60,
]  # fmt: skip


@st.composite
def texts_about(draw: st.DrawFn, name: str) -> str:
    """A text that names somebody, mentions them, or neither, in whatever way."""
    written = st.sampled_from(FORMS).map(lambda form: form(name))
    parts = written | st.sampled_from(ODD) | st.text(TEXT, max_size=3)
    text = "".join(draw(st.lists(parts, min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 2))):
        text = draw(st.sampled_from(FORMS))(text)
    return text


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


def is_it(name: str) -> name_forms.IsErased:
    """Whether a text is a name, to readings that know it by a hash alone."""
    value = normalized_identifier(name)

    def is_erased(text: bytes) -> bool:
        text = text.strip(name_forms.SPACE)
        return (text.lower() if b"@" in value else text) == value

    return is_erased


@examples(300)
@given(data=st.data(), name=ids)
def test_the_database_reads_every_text_as_loaders_do(
    warehouse: psycopg.Connection, data: st.DataObject, name: str
) -> None:
    texts = data.draw(st.lists(texts_about(name), min_size=1, max_size=20))
    found = warehouse.execute(
        """
        select
            warehouse.is_named(v.value, v.content), warehouse.json_presence(v.value, v.content),
            convert_to(warehouse.cut_bytes(v.value, v.content), 'LATIN1'),
            warehouse.file_presence(v.value, t.content) > 0,
            lower(t.content collate "C") like any (warehouse.like_patterns(%(name)s))
            and lower(t.content collate "C") ~ warehouse.boundary_pattern(%(name)s)
            and warehouse.may_hold(v.value, v.content)
        from unnest(%(texts)s::text []) with ordinality as t (content, place)
        cross join lateral (
            select
                warehouse.normalized_identifier(%(name)s) as value,
                warehouse.as_bytes(t.content) as content
        ) as v
        order by t.place
        """,
        {"name": name, "texts": texts},
    ).fetchall()
    is_erased = is_it(name)
    for text, (named, presence, without, of_file, is_looked_at) in zip(texts, found, strict=True):
        content = text.encode()
        assert named == name_forms.is_named(content, is_erased), text
        assert presence == name_forms.json_presence(content, is_erased), text
        assert without == name_forms.cut(content, is_erased), text
        assert of_file == name_forms.is_in_path(content, is_erased), text
        # What most texts are left out by leaves out none of those.
        assert is_looked_at or not (named or without != content), text
        assert name_forms.cut(without, is_erased) == without, text


LONG = [
    "/" + "%252Fa%253Db" * 20_000,
    "/%25" * 60_000,
    '["' + '\\"' * 50_000 + '"]',
    json.dumps(json.dumps(["a"] * 40_000)),
    "/" + "%25" * 80_000 + "41",
    "/%61%3a%5Cu0062" * 15_000,
    "/%2E1" * 40_000,
]


@pytest.mark.parametrize("text", [LONG[0], *map(DEEP, LONG[1:])], ids=range(len(LONG)))
def test_what_cant_hold_an_identifier_is_not_read_in_depth(
    warehouse: psycopg.Connection, text: str
) -> None:
    """Forty such texts took minutes; read in passes, they take a second or two."""
    with warehouse.transaction(force_rollback=True):
        warehouse.execute("set local statement_timeout = '60s'")
        warehouse.execute("create table public.long_texts (sent jsonb)")
        warehouse.execute(
            "insert into staging.rejected_events "
            "(batch_seq, line_number, reason, detail, payload, received_at) "
            "select 1, n, 'invalid_json', '', %s, now() from generate_series(1, 10) as n",
            (text.encode(),),
        )
        sent = json.dumps({"x": text})
        warehouse.cursor().executemany("insert into public.long_texts values (%s)", [(sent,)] * 40)
        for one in ("zoe.quist@example.com", "8675309"):
            assert not warehouse.execute(
                "select * from warehouse.search(%s, null)", (one,)
            ).fetchall()


@examples(150)
@given(data=st.data(), name=ids)
def test_the_database_cuts_an_actor_as_loaders_do(
    warehouse: psycopg.Connection, data: st.DataObject, name: str
) -> None:
    held = texts_about(name) | st.lists(texts_about(name), max_size=2)
    names = st.sampled_from(["profile", "z"]) | texts_about(name)
    sent = data.draw(st.dictionaries(names, held, max_size=3))
    sent |= dict.fromkeys(data.draw(st.sets(st.sampled_from(IDS))), f"/u/{name}")
    sent = {key.replace("\0", ""): one for key, one in sent.items()}
    after = name_forms.cut_actor(json.dumps(sent).encode(), is_it(name))
    cut = "select warehouse.cut_actor(warehouse.normalized_identifier(%s), %s::jsonb)"
    assert value(warehouse, cut, name, json.dumps(sent)) == json.loads(after)
    assert {key: sent[key] for key in IDS if key in sent} == {
        key: one for key, one in json.loads(after).items() if key in IDS
    }


IDS = sorted(tracking_plan().actor)


def test_the_database_knows_the_ids_of_actors(warehouse: psycopg.Connection) -> None:
    assert sorted(value(warehouse, "select warehouse.ids_of_actors()")) == IDS


def test_out_of_an_actor_s_unknown_members_an_erased_subject_is_cut() -> None:
    actor = {"client_id": "c", "user_id": "w1", "profile": "https://p.org/u/Ann%40X.com"}
    outcome = validated(event(1, event="signup", actor=actor))
    assert isinstance(outcome, Accepted)
    sent = json.loads(column(outcome.row, "actor")[1:])
    assert sent == actor | {"profile": "https://p.org/u/(erased)"}


COLUMNS = {
    "text": "%s", "varchar": "%s", "json": "%s::json", "jsonb": "%s::jsonb", "bytea": "%s",
    "text []": "array[%s]", "jsonb []": "array[%s::jsonb]", "bytea []": "array[%s]",
}  # fmt: skip
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(TEXT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT), inner, max_size=3),
    max_leaves=8,
)


@examples(60)
@given(
    data=st.data(), name=st.text(TEXT, min_size=1, max_size=512).filter(normalized_identifier) | ids
)
def test_a_search_never_fails_whatever_a_column_holds(
    warehouse: psycopg.Connection, data: st.DataObject, name: str
) -> None:
    text = texts_about(name) | st.text(TEXT) | st.sampled_from(["{{campaign.name}}", "[", "{", '"'])
    deep = st.sampled_from(["[" * 900 + "]" * 900, '{"a":' * 500 + "1" + "}" * 500, "1" * 5_000])
    values = {
        "text": text | deep,
        # In a column of type json the escapes of NUL and of halves of pairs stay as they came.
        "json": ANY_JSON.map(json.dumps)
        | deep
        | st.sampled_from(['"\\u0000"', '{"\\ud83d": 1e999}']),
        "jsonb": (ANY_JSON | text).map(json.dumps)
        | deep
        | st.sampled_from(["1e300", '{"a":1,"a":2}']),
        "bytea": st.binary(max_size=20) | text.map(str.encode),
    }
    with warehouse.transaction(force_rollback=True):
        for number, (kind, written) in enumerate(COLUMNS.items()):
            value = data.draw(values[kind.split()[0].replace("varchar", "text")])
            table = f"public.any_{number}"
            warehouse.execute(f"create table {table} (held {kind})")
            warehouse.execute(f"insert into {table} values ({written})", [value])  # noqa: S608
        for client in (None, "acme"):
            warehouse.execute("select * from warehouse.search(%s, %s)", (name, client)).fetchall()
            warehouse.execute("select warehouse.remove_subject(%s, %s)", (name, client))
            warehouse.execute("select warehouse.remove_mentions(%s, %s)", (name, client))
            for table in ("erased_events", "erased_facts", "erased_rows", "erased_sequences"):
                warehouse.execute(f"drop table pg_temp.{table}")


def test_the_database_knows_what_the_contract_declares_as_numbers(
    warehouse: psycopg.Connection,
) -> None:
    names = set(value(warehouse, "select warehouse.numeric_members()"))
    assert names == {name.decode() for name in name_forms.numeric_members()}
    numbers = {
        field.name
        for shape in SHAPES.values()
        for field in msgspec.structs.fields(shape)
        if any(kind in str(field.type) for kind in ("int", "Decimal"))
    }
    assert numbers == set(name_forms.NUMERIC_COLUMNS_OF_ENTITIES)


ANN = Erased(1, KEY, frozenset({subject_hash(KEY, "ann@x.com")}), frozenset(), frozenset(), [9])
SAME = [
    "ann@x.com", " ANN@x.com", "mailto:ann@x.com", "ann%40x.com", '{"by": "ann@x.com"}',
]  # fmt: skip


@pytest.mark.parametrize("written", SAME)
def test_an_event_that_names_an_erased_subject_is_suppressed(written: str) -> None:
    for part in (
        {"properties": {"by": written}},
        {"actor": {"client_id": "c", "user_id": written}},
    ):
        outcome = validated(event(1, event="signup") | part)
        assert isinstance(outcome, Suppressed)
        assert outcome.is_erased


def test_out_of_another_s_address_an_erased_subject_is_cut_as_an_event_lands() -> None:
    page = {"path": "/u/Ann%40x.com", "url": "https://x.org/?q=ann@x.com&p=1", "title": "ann's"}
    sent = event(1, event="page_view", event_id=None, context={"page": page, "ip": "203.0.113.7"})
    outcome = validated(sent)
    assert isinstance(outcome, Accepted)
    context = json.loads(column(outcome.row, "context")[1:])
    assert context["page"] == {
        "path": "/u/(erased)", "url": "https://x.org/?q=(erased)&p=1", "title": "ann's",
    }  # fmt: skip
    # It has the identity of the line that came: loaded again, it is a duplicate.
    as_it_came = Validator(Receipt(datetime.now(UTC), b"s" * 32, 1)).validate(
        json.dumps(sent).encode()
    )
    assert outcome.key == as_it_came.key


def column(row: bytes, name: str) -> bytes:
    """Return a column of a row in COPY's binary format; jsonb has its version before its text."""
    position = 2
    for one in COPY_COLUMNS:
        (length,) = struct.unpack_from("!i", row, position)
        position += 4
        if one == name:
            return row[position : position + length]
        position += max(length, 0)
    raise KeyError(name)


def validated(sent: dict[str, object]) -> object:
    return Validator(Receipt(datetime.now(UTC), b"s" * 32, 1, ANN)).validate(
        json.dumps(sent).encode()
    )


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
    sent = event(1, event="chat", actor={"client_id": "acme", "user_id": "ann"})
    line = json.dumps(sent | {"properties": {"x": "?"}}).replace('"?"', number)
    outcomes = [
        Validator(Receipt(datetime.now(UTC), b"s" * 32, 1, one)).validate(line.encode())
        for one in (None, erased)
    ]
    assert [type(outcome) for outcome in outcomes] == [else_it_is, Suppressed]
