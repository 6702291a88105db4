"""The hook's Lua without Slurm, in every Lua that is installed: Debian's slurmctld has 5.1, others a newer one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.lines import decode, encode

HERE = Path(__file__).parent
PLUGIN = HERE.parents[1] / "slurm_plugin"
LUAS = [name for name in ("lua5.1", "lua5.2", "lua5.3", "lua5.4") if shutil.which(name)]
RECORDED = sorted((HERE / "fixtures").glob("job_desc-*.lua"))

# Any bytes that can stand in a job's name; Slurm's strings hold no NUL.
TEXT = st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"")) | st.text(max_size=20).map(
    lambda text: text.replace("\0", "").encode("utf-8", "surrogatepass")
)


def run(lua: str, spec: str, *arguments: str | Path) -> str:
    """Run a file of spec/ and return what it printed; it fails by saying what differs."""
    done = subprocess.run(
        [lua, str(HERE / "spec" / f"{spec}.lua"), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"LUA_PATH": f"{HERE}/spec/?.lua;{PLUGIN}/?.lua"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lua_5_1_is_here() -> None:
    assert "lua5.1" in LUAS, "install lua5.1: it is the one that slurmctld runs"


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("spec", ["hostlist", "comment", "slurmconf", "answer", "scratch", "ahead"])
def test_spec(lua: str, spec: str, tmp_path: Path) -> None:
    run(lua, spec, tmp_path)


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: path.stem)
def test_the_question_about_recorded_submissions(lua: str, recorded: Path, tmp_path: Path) -> None:
    run(lua, "request", tmp_path, recorded)


@pytest.mark.parametrize("lua", LUAS)
def test_python_reads_what_lua_writes(lua: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lines") / "texts"

    @settings(deadline=None)  # a process each
    @given(st.lists(TEXT, min_size=1, max_size=50))
    def check(texts: list[bytes]) -> None:
        path.write_text("".join(f"{text.hex()}\n" for text in texts))
        lines = run(lua, "lines", "encode", path).splitlines()
        for text, line in zip(texts, lines, strict=True):
            fields = decode(line.replace("\\n", "\n").encode())
            assert fields["n"] == str(2**52)
            assert fields["text"] == readable(text)

    check()


def readable(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return "".join(chr(byte) if byte < 128 else "?" for byte in text)


@pytest.mark.parametrize("lua", LUAS)
def test_lua_reads_what_python_writes(lua: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("lines") / "messages"
    texts = st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace").decode())

    @settings(deadline=None)  # a process each
    @given(st.lists(texts, min_size=1, max_size=50))
    def check(written: list[str]) -> None:
        path.write_text("".join(f"{encode({'status': 'ok', 'text': text}).hex()}\n" for text in written))
        read = run(lua, "lines", "decode", path).splitlines()
        assert [bytes.fromhex(text).decode() for text in read] == written

    check()


@pytest.mark.parametrize("lua", LUAS)
@pytest.mark.parametrize(
    "message",
    [
        b"status\n\n",
        b"=ok\n\n",
        b"status=ok\nstatus=ok\n\n",
        b"Status=ok\n\n",
        b"a\0=1\n\n",
        b"a=\xff\n\n",
        b"a=1\r\n\n",
        b"".join(b"k%d=1\n" % number for number in range(65)) + b"\n",
    ],
)
def test_lua_reads_no_junk(lua: str, message: bytes, tmp_path: Path) -> None:
    path = tmp_path / "messages"
    path.write_text(message.hex() + "\n")
    assert run(lua, "lines", "decode", path) == "nil\n"
