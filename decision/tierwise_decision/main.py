"""`tierwise-decision [--config FILE]`: the decision service in the foreground, its log on stderr."""

import argparse
import asyncio
import logging
import os
import sys

import tierwise
from tierwise.config import load_config
from tierwise.errors import TierwiseError
from tierwise_decision.hook_main import LOG_FORMAT
from tierwise_decision.service import serve
from tierwise_decision.settings import Settings

_SWITCH = 0.0005
"""Seconds that a thread keeps the interpreter from the others. While rows are written, each step of the hook's answer
would wait for Python's own 5 ms."""


def main() -> None:
    """Run until stopped. Exit code 0 after SIGTERM, 1 when the service can't start."""
    parser = argparse.ArgumentParser(prog="tierwise-decision", description="The Tierwise decision service.")
    parser.add_argument("--config", metavar="FILE", help="default: $TIERWISE_CONFIG or /etc/tierwise/tierwise.toml")
    parser.add_argument("--version", action="version", version=f"tierwise {tierwise.__version__}")
    options = parser.parse_args()
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO, stream=sys.stderr)
    for chatty in ("uvicorn", "uvicorn.error", "alembic"):  # per request, or once a table; ours are bounded
        logging.getLogger(chatty).setLevel(logging.ERROR)
    sys.setswitchinterval(_SWITCH)
    os.umask(0o077)  # the database and the spool are nobody else's business
    try:
        asyncio.run(serve(Settings(load_config(options.config), options.config)))
    except TierwiseError as error:
        sys.exit(f"tierwise-decision: {error}")


if __name__ == "__main__":
    main()
