"""One HTTP/1.1 response, read piece by piece as the network cuts it. Pure: bytes in, body bytes out.

Sizes are bounded, so that no server can fill the client's memory. Fed by ``connection``.
"""

import re

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 256 * 1024 * 1024
"""Bytes of one answer: 100,000 tokens of 300 bytes are 30 MB."""
SIZE_LINE_LIMIT = 1024
TRAILER_LIMIT = 64 * 1024

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\Z")
CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
LENGTH = re.compile(rb"[0-9]{1,12}\Z")


class ProtocolError(ValueError):
    """What the server sent is no HTTP/1.1 answer, or is larger than allowed."""


class Response:
    """``feed`` returns the body bytes in what was just received; ``complete`` when the answer has ended.

    ``reusable``: the connection may carry another request. ``begun``: the head of the final answer has been read.
    """

    __slots__ = (
        "_bounded", "_chunked", "_left", "_seen", "_stage", "_unread", "begun", "complete", "headers", "reusable",
        "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.begun = False
        self.complete = False
        self.reusable = False
        self._chunked = False
        self._bounded = False
        self._left = 0
        self._seen = 0
        self._stage = "size"
        self._unread = b""

    @property
    def heard(self) -> bool:
        """Anything at all was received of it."""
        return self.begun or bool(self._unread)

    def feed(self, data: bytes) -> bytes:
        """Raises ProtocolError; what comes after the end makes the connection unfit for another request."""
        if self.complete:
            self.reusable = False
            return b""
        if not self.begun:
            data = self._read_head(self._unread + data)
            if not self.begun:
                return b""
        body = self._dechunk(data) if self._chunked else self._plain(data)
        self._seen += len(body)
        if self._seen > BODY_LIMIT:
            raise ProtocolError(f"the answer is longer than {BODY_LIMIT} bytes")
        return body

    def end_of_input(self) -> bool:
        """The server closed the connection; whether the answer is whole (its length was never told)."""
        if self.begun and not self.complete and not self._chunked and not self._bounded:
            self.complete = True
        self.reusable = False
        return self.complete

    def _read_head(self, data: bytes) -> bytes:
        """Reads up to the blank line; returns what follows it. Interim answers (1xx) are passed over."""
        while True:
            end = data.find(b"\r\n\r\n")
            if end > HEAD_LIMIT or (end < 0 and len(data) > HEAD_LIMIT):
                raise ProtocolError(f"the head of the answer is longer than {HEAD_LIMIT} bytes")
            if end < 0:
                self._unread = data
                return b""
            minor = self._read_lines(data[:end].split(b"\r\n"))
            data = data[end + 4 :]
            if self.status >= 200:
                break
        self._unread = b""
        self._frame(minor)
        return data

    def _read_lines(self, lines: list[bytes]) -> bytes:
        """The minor version; sets status and headers (names in lower case, the last one of equal names)."""
        found = STATUS_LINE.match(lines[0])
        if found is None:
            raise ProtocolError(f"no HTTP/1.1 answer: {lines[0][:60]!r}")
        self.status = int(found[2])
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon:
                raise ProtocolError(f"a header without a colon: {line[:60]!r}")
            self.headers[name.strip().lower()] = value.strip()
        return found[1]

    def _frame(self, minor: bytes) -> None:
        """How the body ends (RFC 9112, 6.3), and whether the connection can live on."""
        self.begun = True
        told = self.headers.get(b"connection", b"").lower()
        self.reusable = minor == b"1" and b"close" not in told
        coding, length = self.headers.get(b"transfer-encoding", b"").lower(), self.headers.get(b"content-length")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise ProtocolError("the answer is compressed, which was not asked for")
        if self.status in (204, 304):
            self._bounded = self.complete = True
        elif coding:
            if coding != b"chunked":
                raise ProtocolError(f"transfer coding {coding[:40]!r} is not known")
            self._chunked = True
        elif length is not None:
            if LENGTH.match(length) is None:
                raise ProtocolError(f"content-length {length[:40]!r} is no number")
            self._left, self._bounded = int(length), True
            self.complete = self._left == 0
        else:
            self.reusable = False

    def _plain(self, data: bytes) -> bytes:
        if not self._bounded:
            return data
        body = data[: self._left]
        self._left -= len(body)
        if self._left == 0:
            self.complete = True
            self.reusable &= len(data) == len(body)
        return body

    def _dechunk(self, data: bytes) -> bytes:
        """Chunks joined. ``_stage`` is what comes next: size line, data, the line end after it, or trailer."""
        if self._unread:
            data, self._unread = self._unread + data, b""
        bodies: list[bytes] = []
        at, end = 0, len(data)
        while at < end and not self.complete:
            if self._stage == "data":
                bodies.append(data[at : at + self._left])
                taken = len(bodies[-1])
                at += taken
                self._left -= taken
                if self._left == 0:
                    self._stage = "end"
                continue
            step = self._line(data, at)
            if step == 0:
                self._unread = data[at:]
                break
            at += step
        if self.complete:
            self.reusable &= at == end
        return bodies[0] if len(bodies) == 1 else b"".join(bodies)

    def _line(self, data: bytes, at: int) -> int:
        """Bytes of the line at ``at``; 0: it is not whole yet."""
        if self._stage == "size" and (size := CHUNK_SIZE.match(data, at)) is not None:
            self._left = int(size[1], 16)
            self._stage = "data" if self._left else "trailer"
            return size.end() - at
        stop = data.find(b"\n", at)
        if stop < 0:
            if len(data) - at > SIZE_LINE_LIMIT:
                raise ProtocolError("a line of the chunked answer is too long")
            return 0
        line = data[at:stop].rstrip(b"\r")
        if self._stage == "end" and not line:
            self._stage = "size"
        elif self._stage == "trailer":
            self._seen += len(line)
            self.complete = not line
        else:
            raise ProtocolError(f"no chunk where one must begin: {line[:40]!r}")
        return stop + 1 - at
