"""The exceptions that cross rooms. Each message says what was tried, on what, and what to do next."""


class TierwiseError(Exception):
    """Base of all errors that Tierwise raises on purpose; `tierctl` prints them without a trace."""


class ConfigError(TierwiseError):
    """A configuration file is missing, unreadable or holds a wrong value."""


class DirectiveError(TierwiseError):
    """A `--tier` directive is not in the grammar.

    `code` is one of the codes in tests/directive_cases.tsv, `item` the number of the offending item (0: the whole).
    """

    def __init__(self, code: str, item: int, reason: str) -> None:
        super().__init__(f"item {item}: {reason}" if item else reason)
        self.code = code
        self.item = item


class RequestTooLargeError(TierwiseError):
    """The classes of a request add up to more than the memory that the job asked for."""


class ProtocolError(TierwiseError):
    """A peer sent something that is not in the protocol (docs/protocol.md)."""


class CredentialError(TierwiseError):
    """A MUNGE credential could not be made, or was refused: expired, replayed, foreign or for other content."""


class UnavailableError(TierwiseError):
    """A daemon of ours could not be reached, or did not answer in time."""


class RefusedError(TierwiseError):
    """A daemon of ours answered, and said no. `status` is the HTTP status (or 403 on a line socket)."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status
