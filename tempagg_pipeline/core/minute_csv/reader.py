"""Cuts an object's bytes into blocks of whole lines and reads each down the fast or the careful lane."""

from collections.abc import Callable, Iterable, Iterator

from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.minute_csv import canonical, careful
from tempagg_pipeline.core.minute_csv.careful import DATETIME, TEMPERATURE, Layout, shown
from tempagg_pipeline.core.minute_csv.readings import BadRow, Readings

BLOCK_BYTES = 256 * 1024
"""Small enough that a block's arrays stay in the processor's cache."""

_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


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
        first = next(blocks, b"")
        self._refuse_what_is_no_text(first)
        header, _, rest = first.removeprefix(_UTF8_BOM).partition(b"\n")
        layout = careful.read_header(self._decode_header(header), self._source)
        line = 2
        for block in _chain(rest, blocks):
            if b'"' in block:
                # A quoted field may go on in the next block: from here on rows are read as one stream of lines.
                yield from self._read_carefully(_lines(_chain(block, blocks)), line, layout)
                return
            readings = canonical.decode(block) if layout.is_canonical and block.endswith(b"\n") else None
            if readings is not None:
                yield readings
            else:
                yield from self._read_carefully(_lines([block]), line, layout)
            line += block.count(b"\n")

    def _whole_lines(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Regroup chunks into blocks that end at a line end; the last block may lack one."""
        pending: list[bytes] = []
        for chunk in chunks:
            for start in range(0, len(chunk), BLOCK_BYTES):
                piece = bytes(memoryview(chunk)[start : start + BLOCK_BYTES])
                cut = piece.rfind(b"\n") + 1
                if cut:
                    yield b"".join([*pending, piece[:cut]])
                    pending.clear()
                if cut < len(piece):
                    pending.append(piece[cut:])
        if pending:
            self.last_line_ended = False
            yield b"".join(pending)

    def _read_carefully(self, lines: Iterator[bytes], first_line: int, layout: Layout) -> Iterator[Readings]:
        return careful.read_rows(lines, first_line, layout, self._source, self._hint_at_cut_off)

    def _hint_at_cut_off(self, bad: BadRow) -> None:
        hint = "" if self.last_line_ended else "; the last line has no line end: the file may be cut off"
        self._on_bad_row(BadRow(bad.line, bad.reason + hint))

    def _refuse_what_is_no_text(self, start: bytes) -> None:
        expected = f"expected CSV text with the header {DATETIME},{TEMPERATURE}"
        if not start.strip():
            raise InvalidInputError(self._source, f"{expected}, found an empty file")
        if start.startswith(_UTF16_BOMS):
            raise InvalidInputError(self._source, f"{expected} in UTF-8, found UTF-16", line=1)
        if b"\0" in start[:4096]:
            raise InvalidInputError(self._source, f"{expected}, found binary data", line=1)

    def _decode_header(self, header: bytes) -> str:
        try:
            return header.decode().removesuffix("\r")
        except UnicodeDecodeError:
            found = shown(header.decode(errors="backslashreplace"))
            raise InvalidInputError(self._source, f"expected UTF-8 text, found {found}", line=1) from None


def _chain(first: bytes, others: Iterable[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from others


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield from block.removesuffix(b"\n").split(b"\n")
