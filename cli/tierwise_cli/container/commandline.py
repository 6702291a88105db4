"""Apptainer's and Singularity's command line: where the image stands in it.

Both use pflag: `--name=value`, `--name value` for the options below, `-xvalue`, `-x value`, and flags without a value
that may stand together (`-ce`). What stands behind the image belongs to the program inside.
"""

STAGED = ("exec", "run", "shell")
GLOBAL_WITH_VALUE = frozenset({"-c", "--config"})
WITH_VALUE = frozenset(
    {
        "--add-caps", "--app", "--apply-cgroups", "--arch", "--authfile", "-B", "--bind", "--blkio-weight",
        "--blkio-weight-device", "--cdi-dirs", "--cpu-shares", "--cpus", "--cpuset-cpus", "--cpuset-mems", "--cwd",
        "--device", "--dns", "--docker-host", "--drop-caps", "--env", "--env-file", "--fusemount", "-H", "--home",
        "--hostname", "--keyserver", "--library", "--memory", "--memory-reservation", "--memory-swap", "--mount",
        "--network", "--network-args", "--netns-path", "--no-mount", "-o", "--overlay", "--pem-path", "--pids-limit",
        "--platform", "--proot", "--pwd", "--runscript-timeout", "-S", "--scratch", "--security", "--tmp-sandbox-dir",
        "-W", "--workdir",
    }
)  # fmt: skip
"""Options of exec, run and shell that take the next argument where none stands behind `=` (Apptainer 1.4,
SingularityCE 4)."""
OF_SHELL = frozenset({"-s", "--shell"})
"""Further ones of shell; elsewhere -s is the flag --silent."""
SHORT_FLAGS = frozenset("aCcdefiqpsuvw")


class Parsed:
    """`arguments[image]` is the image; `writable`: it shall be changed."""

    def __init__(self, image: int, writable: bool) -> None:
        self.image, self.writable = image, writable


def parse(arguments: list[str]) -> Parsed | None:
    """Where the image stands; None: another subcommand, or no image."""
    verb, _ = _skip_options(arguments, 0, GLOBAL_WITH_VALUE)
    if verb >= len(arguments) or arguments[verb] not in STAGED:
        return None
    with_value = WITH_VALUE | OF_SHELL if arguments[verb] == "shell" else WITH_VALUE
    image, options = _skip_options(arguments, verb + 1, with_value)
    if image >= len(arguments):
        return None
    short = "".join(option[1:] for option in options if not option.startswith("--") and _are_flags(option))
    return Parsed(image, "w" in short or "--writable" in options or "--writable=true" in options)


def _skip_options(arguments: list[str], start: int, with_value: frozenset[str]) -> tuple[int, list[str]]:
    """The place of the first argument that is neither an option nor an option's value, and the options before it."""
    at, options = start, []
    while at < len(arguments) and arguments[at].startswith("-") and arguments[at] != "-":
        option = arguments[at]
        at += 1
        if option == "--":
            break
        options.append(option)
        at += option in with_value or _ends_with_value(option, with_value)
    return at, options


def _ends_with_value(option: str, with_value: frozenset[str]) -> bool:
    """Whether `-ceB` stands there: flags, and an option whose value comes next."""
    return not option.startswith("--") and _are_flags(option[:-1]) and f"-{option[-1]}" in with_value


def _are_flags(option: str) -> bool:
    return len(option) > 1 and set(option[1:]) <= SHORT_FLAGS
