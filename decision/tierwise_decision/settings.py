"""The configuration while the service runs: what SIGHUP can change, and what needs a restart."""

import logging
from collections.abc import Callable

import msgspec

from tierwise.config import Config, load_config
from tierwise.errors import ConfigError
from tierwise_decision.peers import Access

_FIXED = ("listen", "socket", "hook_socket", "database", "spool")
log = logging.getLogger("tierwise.decision")


class Settings:
    """The present configuration. Ask it each time: it may have been reloaded since."""

    def __init__(self, config: Config, path: str | None = None) -> None:
        self._path = path
        self.changed: Callable[[Config], None] = lambda config: None
        """Called with a configuration that has been reloaded."""
        self.take(config)

    def take(self, config: Config) -> None:
        """This is the configuration now."""
        self.config = config
        self.access = Access(config.service)

    def reload(self) -> None:
        """Read the file again; a faulty one changes nothing. What is bound already stays as it is, and is named."""
        try:
            fresh = load_config(self._path)
        except ConfigError as error:
            log.error("configuration not reloaded, the old one holds: %s", error)
            return
        old = self.config
        kept = {name: getattr(old.service, name) for name in _FIXED}
        needs = [f"service.{name}" for name in _FIXED if getattr(fresh.service, name) != kept[name]]
        if fresh.munge != old.munge:
            needs.append("munge.socket")
        service = msgspec.structs.replace(fresh.service, **kept)
        self.take(msgspec.structs.replace(fresh, service=service, munge=old.munge))
        self.changed(self.config)
        log.info("configuration reloaded%s", f"; only a restart changes {', '.join(needs)}" if needs else "")
