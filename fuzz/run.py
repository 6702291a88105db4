"""Runs both fuzzers, one after the other: run.py [SECONDS for the agent's protocol]. What they find is in build/fuzz.

Ends with 0 if nothing was found. A finding is a file: `fuzz/agent.py FILE`, or `build/fuzz/answers FILE`, repeats it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build" / "fuzz"
C_SHARE = 0.1
"""The C's time as a part of the agent's: it runs ten thousand times as many inputs a second."""
SOURCES = (
    "fuzz/answers.c",
    *(f"csrc/spank/{name}.c" for name in ("lines", "directive", "number")),
    "csrc/libtierwise/answer.c",
    *(f"csrc/exec/{name}.c" for name in ("arguments", "commandline")),
)
SANITIZED = ("-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")


def fuzz(what: str, command: list[str], seconds: int) -> int:
    """The fuzzer's exit code."""
    corpus = BUILD / f"corpus-{what}"
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={seconds}", "-timeout=60", "-rss_limit_mb=1024", "-print_final_stats=1"]
    print(f"fuzzing the {what} for {seconds} s", flush=True)
    return subprocess.run([*command, *options, f"-artifact_prefix={BUILD}/", str(corpus)], check=False).returncode


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    BUILD.mkdir(parents=True, exist_ok=True)
    include = ["-Icsrc/spank", "-Icsrc/libtierwise", "-Icsrc/exec"]
    build = ["clang", "-std=gnu11", *SANITIZED, *include, *SOURCES, "-o", str(BUILD / "answers")]
    subprocess.run(build, cwd=REPOSITORY, check=True)
    agent = ["unshare", "--mount", sys.executable, str(REPOSITORY / "fuzz/agent.py"), "-len_control=0", "-max_len=512"]
    codes = (
        fuzz("answers", [str(BUILD / "answers")], max(int(seconds * C_SHARE), 1)),
        fuzz("agent", agent, seconds),
    )
    print("nothing was found" if not any(codes) else f"something was found: see {BUILD}")
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
