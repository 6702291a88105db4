"""tierctl's exit codes, and how our errors become them."""

from tierwise.errors import (
    ConfigError,
    CredentialError,
    DirectiveError,
    ProtocolError,
    RefusedError,
    RequestTooLargeError,
    TierwiseError,
    UnavailableError,
)

FINE = 0
DISAGREES = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4

_CODES: dict[type[TierwiseError], int] = {
    ConfigError: USAGE,
    DirectiveError: USAGE,
    RequestTooLargeError: USAGE,
    CredentialError: UNREACHABLE,
    ProtocolError: UNREACHABLE,
    UnavailableError: UNREACHABLE,
    RefusedError: REFUSED,
}


def code_of(error: TierwiseError) -> int:
    """The exit code for `error`."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), DISAGREES)
