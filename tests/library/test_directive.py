"""Both parsers of the directive, in Python and in C: the table of cases, and against each other on any bytes."""

import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tierwise.directive import _REASONS, CLASSES, MAX_LENGTH, Request, parse_directive
from tierwise.errors import DirectiveError

REPOSITORY = Path(__file__).parents[2]
Answer = tuple[str, str, str]  # code, canonical or item, reason
Parser = Callable[[bytes], Answer]


def unescape(text: str) -> bytes:
    """The bytes of a directive as the table writes it."""
    repeated = re.sub(r"<(.+)\*(\d+)>", lambda found: found[1] * int(found[2]), text)
    return repeated.encode("ascii").decode("unicode_escape").encode("latin-1")


def cases() -> list[tuple[str, ...]]:
    """The rows of the table: directive, answer, detail."""
    table = (REPOSITORY / "tests" / "directive_cases.tsv").read_text("ascii")
    return [tuple(line.split("\t")) for line in table.splitlines() if not line.startswith("#")]


def in_python(directive: bytes) -> Answer:
    try:
        return "ok", str(parse_directive(os.fsdecode(directive))), ""
    except DirectiveError as error:
        reason = str(error).removeprefix(f"item {error.item}: ")
        return error.code, str(error.item), reason


@pytest.fixture(scope="module")
def in_c() -> Iterator[Parser]:
    subprocess.run(["make", "-s", "-C", REPOSITORY / "csrc" / "spank", "driver"], check=True)
    driver = subprocess.Popen(
        [REPOSITORY / "build" / "spank" / "test" / "directive_driver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    questions, answers = driver.stdin, driver.stdout
    assert questions is not None
    assert answers is not None

    def ask(directive: bytes) -> Answer:
        questions.write(struct.pack("=I", len(directive)) + directive)
        questions.flush()
        code, detail, *reason = answers.readline().decode().rstrip("\n").split("\t")
        return code, detail, "".join(reason)

    yield ask
    questions.close()
    answers.close()
    assert driver.wait() == 0


@pytest.mark.parametrize(("directive", "answer", "detail"), cases())
def test_case(directive: str, answer: str, detail: str, in_c: Parser) -> None:
    expected = (answer, detail, _REASONS.get(answer, ""))
    assert in_python(unescape(directive)) == expected
    assert in_c(unescape(directive)) == expected


def test_every_code_has_a_case() -> None:
    assert {answer for _, answer, _ in cases()} == {"ok", *_REASONS}


NUMBERS = st.one_of(
    st.integers(0, 1 << 64).map(str),
    st.sampled_from([f"{(1 << 63) - 1 + step >> shift}" for step in (0, 1) for shift in (0, 10, 20, 30, 40)]),
    st.integers(0, 110).map(str),
    st.text("0123456789", max_size=25),
)
SIZES = st.builds("{}{}".format, NUMBERS, st.sampled_from(["", *"kKmMgGtT", *"%%%%", "x", "%%", "KB"]))
NAMES = st.sampled_from([name for each in CLASSES for name in (each, each.lower())] + ["auto", "off", "x", ""])
ITEMS = st.one_of(NAMES, st.builds("{}:{}".format, NAMES, SIZES))
NEARLY = st.lists(ITEMS, max_size=6).map(",".join).map(str.encode)
WILD = st.text("latbwcpshLATBWCPSH0123456789KMGT:,% ", max_size=MAX_LENGTH + 2).map(str.encode)


@given(st.one_of(NEARLY, WILD, st.text().map(os.fsencode), st.binary(max_size=MAX_LENGTH + 2)))
@example(b"lat:" + b"1" * 1_000_000)
def test_the_parsers_agree(in_c: Parser, directive: bytes) -> None:
    assert in_c(directive) == in_python(directive)


@given(NEARLY)
def test_the_canonical_directive_means_the_same(in_c: Parser, directive: bytes) -> None:
    code, canonical, _ = in_python(directive)
    if code == "ok":
        request: Request = parse_directive(canonical)
        assert request == parse_directive(directive.decode())
        assert str(request) == canonical
        assert in_c(canonical.encode()) == ("ok", canonical, "")
