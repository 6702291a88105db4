"""Who is asking, and what they may do. On unix sockets the kernel says who (SO_PEERCRED), on TCP MUNGE does."""

import os
import socket
import struct
from typing import Any

from tierwise.config import ServiceConfig

_UCRED = struct.Struct("iII")  # struct ucred of unix(7): pid, uid, gid


def peer_uid(sock: Any) -> int:
    """The uid of the process at the other end of a unix socket, as it was when it connected."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


class Access:
    """What each uid may do, by the configuration. The service's own uid and root may always ask as the hook."""

    def __init__(self, config: ServiceConfig) -> None:
        own = os.geteuid()
        self._hooks = frozenset({0, own, *config.hook_uids})
        self._agents = frozenset(config.agent_uids)
        self._admins = frozenset({own, *config.admin_uids})

    def is_hook(self, uid: int) -> bool:
        """Whether `uid` may ask about submissions."""
        return uid in self._hooks

    def is_agent(self, uid: int) -> bool:
        """Whether `uid` may ask for plans and send samples and reports."""
        return uid in self._agents

    def may_see(self, uid: int, owner: int) -> bool:
        """Whether `uid` may see what belongs to `owner`."""
        return uid == owner or uid in self._admins

    def is_admin(self, uid: int) -> bool:
        """Whether `uid` may see everybody's jobs."""
        return uid in self._admins
