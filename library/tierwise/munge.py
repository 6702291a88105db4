"""MUNGE credentials: who sent a request, and that nobody changed it (munge(7)).

libmunge is called directly (ABI mode, no compiler needed); its payload is a digest of the message. munged itself
refuses credentials that are expired, replayed or from another realm (foreign key).
"""

import hashlib
from typing import Any

import cffi

from tierwise.errors import CredentialError

_CDEF = """
typedef struct munge_ctx *munge_ctx_t;
munge_ctx_t munge_ctx_create(void);
void munge_ctx_destroy(munge_ctx_t ctx);
int munge_ctx_set(munge_ctx_t ctx, int opt, ...);
const char *munge_ctx_strerror(munge_ctx_t ctx);
const char *munge_strerror(int e);
int munge_encode(char **cred, munge_ctx_t ctx, const void *buf, int len);
int munge_decode(const char *cred, munge_ctx_t ctx, void **buf, int *len, unsigned *uid, unsigned *gid);
void free(void *ptr);
"""
_OPT_SOCKET = 8  # MUNGE_OPT_SOCKET in munge.h
MAX_CREDENTIAL = 4096


def digest(*parts: bytes) -> bytes:
    """SHA-256 over the parts, each with its length before it, so that no two lists of parts look alike."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.digest()


class Munge:
    """Makes and checks credentials through one munged. Not for use by several threads at once.

    `socket` is munged's; empty: libmunge's default. Raises CredentialError when libmunge is not installed.
    """

    def __init__(self, socket: str = "") -> None:
        self._ffi = cffi.FFI()
        self._ffi.cdef(_CDEF)
        try:
            self._lib: Any = self._ffi.dlopen("libmunge.so.2")
            self._libc: Any = self._ffi.dlopen(None)
        except OSError:
            raise CredentialError("libmunge.so.2 can't be loaded: install libmunge2 (munge-libs)") from None
        self._socket = socket

    def encode(self, payload: bytes) -> str:
        """A credential of this process's uid for `payload`. Raises CredentialError."""
        context = self._context()
        cred = self._ffi.new("char **")
        try:
            self._check(self._lib.munge_encode(cred, context, payload, len(payload)), context, "make")
            return bytes(self._ffi.string(cred[0])).decode("ascii")
        finally:
            self._libc.free(cred[0])
            self._lib.munge_ctx_destroy(context)

    def decode(self, credential: str) -> tuple[int, bytes]:
        """The sender's uid and the payload. Raises CredentialError: expired, replayed, foreign, or junk."""
        if len(credential) > MAX_CREDENTIAL or not credential.isascii() or "\0" in credential:
            raise CredentialError("a credential that MUNGE can't have made was refused")
        context = self._context()
        buf, length = self._ffi.new("void **"), self._ffi.new("int *")
        uid, gid = self._ffi.new("unsigned *"), self._ffi.new("unsigned *")
        try:
            status = self._lib.munge_decode(credential.encode(), context, buf, length, uid, gid)
            self._check(status, context, "accept")
            return int(uid[0]), bytes(self._ffi.buffer(buf[0], length[0])) if length[0] else b""
        finally:
            self._libc.free(buf[0])
            self._lib.munge_ctx_destroy(context)

    def _context(self) -> Any:
        context = self._lib.munge_ctx_create()
        if context == self._ffi.NULL:
            raise CredentialError("libmunge is out of memory")
        if self._socket:
            path = self._ffi.new("char[]", self._socket.encode())
            self._lib.munge_ctx_set(context, _OPT_SOCKET, path)
        return context

    def _check(self, status: int, context: Any, verb: str) -> None:
        if status == 0:
            return
        text = self._lib.munge_ctx_strerror(context)
        if text == self._ffi.NULL:
            text = self._lib.munge_strerror(status)
        reason = bytes(self._ffi.string(text)).decode(errors="replace")
        raise CredentialError(f"munged did not {verb} a credential: {reason}")
