"""Cuts an object's bytes into blocks of whole lines and reads each down the fast or the careful lane."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.minute_csv import canonical, careful
from tempagg_pipeline.core.minute_csv.careful import DATETIME, TEMPERATURE, Layout, shown
from tempagg_pipeline.core.minute_csv.readings import BadRow, Readings

BLOCK_BYTES = 256 * 1024
"""Small enough that a block's arrays stay in the processor's cache."""
LONGEST_LINE_BYTES = 1024 * 1024
"""A longer line is no CSV of readings: it is refused before it fills the memory."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff", b"D\0", b"\0D")


class _Block(NamedTuple):
    """Whole lines; the last line of the object may lack its line end."""

    line: int
    """Number of the first line, from 1."""
    text: bytes


class MinuteCsvReader:
    """One pass over one raw object; memory does not grow with its size.

    Bad rows go to ``on_bad_row``, which decides: raise to stop, return to skip.

    Attributes:
        last_line_ended: after reading, whether the last line has a line end. One without may be cut off unnoticed.
    """

    def __init__(self, source: str, on_bad_row: Callable[[BadRow], None]) -> None:
        self._source = source
        self._on_bad_row = on_bad_row
        self.last_line_ended = True

    def read(self, chunks: Iterable[bytes]) -> Iterator[Readings]:
        """Yield blocks of readings in file order.

        Args:
            chunks: the object's bytes, in pieces of any size.

        Raises:
            InvalidInputError: empty, binary, not UTF-8, without the header, with broken quoting, or cut off in the
                last line.
        """
        blocks = self._whole_lines(chunks)
        layout, rest = self._read_header(blocks)
        for block in _chain(rest, blocks):
            if b'"' in block.text:
                # A quoted field may go on in the next block: from here on rows are read as one stream of lines.
                yield from self._read_carefully(_lines(_chain(block, blocks)), block.line, layout)
                return
            readings = None
            if layout.is_canonical and block.text.endswith(b"\n"):
                readings = canonical.decode(block.text, block.line)
            if readings is not None:
                yield readings
            else:
                yield from self._read_carefully(_lines([block]), block.line, layout)

    def _whole_lines(self, chunks: Iterable[bytes]) -> Iterator[_Block]:
        """Regroup chunks into blocks that end at a line end; the last block may lack one."""
        line = 1
        pending = b""
        for piece in _pieces(chunks):
            cut = piece.rfind(b"\n") + 1
            if cut:
                block = _Block(line, pending + piece[:cut])
                line += _line_feeds(block.text)
                yield block
                pending = piece[cut:]
            else:
                pending += piece
            if len(pending) > LONGEST_LINE_BYTES:
                reason = f"expected lines ended by LF or CRLF, found one longer than {LONGEST_LINE_BYTES:,} bytes"
                raise InvalidInputError(self._source, reason, line)
        if pending:
            self.last_line_ended = False
            yield _Block(line, pending)

    def _read_header(self, blocks: Iterator[_Block]) -> tuple[Layout, _Block]:
        """Where the columns stand, and what follows the header in its block; blank lines before it are passed over."""
        expected = f"expected CSV text with the header {DATETIME},{TEMPERATURE}"
        for block in blocks:
            text = block.text.removeprefix(_UTF8_BOM) if block.line == 1 else block.text
            if not (filled := text.lstrip()):
                continue
            line = block.line + text.count(b"\n") - filled.count(b"\n")
            header, _, rest = filled.partition(b"\n")
            if header.startswith(_UTF16_STARTS):
                raise InvalidInputError(self._source, f"{expected} in UTF-8, found UTF-16", line)
            if b"\0" in header:
                raise InvalidInputError(self._source, f"{expected}, found binary data", line)
            return careful.read_header(self._decode_header(header, line), self._source, line), _Block(line + 1, rest)
        raise InvalidInputError(self._source, f"{expected}, found an empty file")

    def _decode_header(self, header: bytes, line: int) -> str:
        try:
            return header.decode().removesuffix("\r")
        except UnicodeDecodeError:
            found = shown(header.decode(errors="backslashreplace"))
            raise InvalidInputError(self._source, f"expected UTF-8 text, found {found}", line) from None

    def _read_carefully(self, lines: Iterator[bytes], first_line: int, layout: Layout) -> Iterator[Readings]:
        return careful.read_rows(lines, first_line, layout, self._source, self._hint_at_cut_off)

    def _hint_at_cut_off(self, bad: BadRow) -> None:
        hint = "" if self.last_line_ended else "; the last line has no line end: the file may be cut off"
        self._on_bad_row(BadRow(bad.line, bad.reason + hint))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of one size: rounding must not depend on how a store happens to cut its answers."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= BLOCK_BYTES:
            yield bytes(buffer[:BLOCK_BYTES])
            del buffer[:BLOCK_BYTES]
    if buffer:
        yield bytes(buffer)


def _line_feeds(text: bytes) -> int:
    # Several times faster than bytes.count() where there are many.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))


def _chain(first: _Block, others: Iterable[_Block]) -> Iterator[_Block]:
    if first.text:
        yield first
    yield from others


def _lines(blocks: Iterable[_Block]) -> Iterator[bytes]:
    for block in blocks:
        yield from block.text.removesuffix(b"\n").split(b"\n")
