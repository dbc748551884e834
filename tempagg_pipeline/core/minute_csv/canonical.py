"""Decodes blocks of lines in the canonical form with numpy, eight bytes at a time.

Canonical is ``YYYY-MM-DD HH:MM:SS,`` and then nothing or a plain decimal number, ended by LF or CRLF; blank lines are
passed over. Everything is validated; a block with any other line is declined as a whole, never guessed at.

A line's bytes are gathered as little-endian 64-bit words, so that a word's lowest byte is its first character:
``YYYY-MM-`` ``DD HH:MM`` ``:SS,....``, and the last eight bytes of the line for the number.
"""

import re

import numpy as np
from numpy.typing import NDArray

from tempagg_pipeline.core.minute_csv.readings import LARGEST_NUMBER, Readings

U64 = NDArray[np.uint64]

WORD = 8
TIMESTAMP_AND_COMMA = 20

_LOW_40_BITS = np.uint64(0xFF_FFFF_FFFF)
_EACH_BYTE = 0x0101010101010101
_ZEROS = np.uint64(ord("0") * _EACH_BYTE)
_DOTS = np.uint64(ord(".") * _EACH_BYTE)
_ONES = np.uint64(_EACH_BYTE)
_HIGH_BITS = np.uint64(0x80 * _EACH_BYTE)
_HIGH_NIBBLES = np.uint64(0xF0 * _EACH_BYTE)
_SIXES = np.uint64(0x06 * _EACH_BYTE)
_BYTE = np.uint64(0xFF)
_MINUS = np.uint64(ord("-"))
_MINUS_TO_ZERO = np.uint64(ord("-") ^ ord("0"))

# By length of the number: the bits of the last word that belong to it, and how far its first character lies from bit 0.
_NUMBER_BITS = np.array([(0xFFFFFFFFFFFFFFFF << (8 * (WORD - n))) & 0xFFFFFFFFFFFFFFFF for n in range(9)], np.uint64)
_FIRST_CHARACTER_SHIFT = np.array([56, 56, 48, 40, 32, 24, 16, 8, 0], np.uint64)
_POWERS_OF_TEN = 10.0 ** np.arange(WORD + 1)

_LONG_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]*)?|-?\.[0-9]+")
_INVALID = 255


def _two_digit_table(limit: int) -> NDArray[np.uint8]:
    """Value of two ASCII digits read as a little-endian 16-bit number; 255 where they are none or not below limit."""
    table = np.full(1 << 16, _INVALID, np.uint8)
    for value in range(limit):
        tens, ones = divmod(value, 10)
        table[(ord("0") + tens) | (ord("0") + ones) << 8] = value
    return table


_SIXTIETHS = _two_digit_table(60)
_HOURS_OF_DAY = _two_digit_table(24)
_TWO_DIGITS = _two_digit_table(100)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)


def decode(block: bytes, first_line: int) -> Readings | None:
    """Decode whole lines, or return None when any of them is not canonical.

    Args:
        block: bytes of whole lines, ended by a line feed.
        first_line: number of the first of them in the object.
    """
    text = np.frombuffer(block, np.uint8)
    lines = _line_bounds(text)
    if lines is None:
        return None
    starts, ends, positions = lines
    # Unaligned items that start at every byte. Gathers stay inside: behind the block lies a pad.
    padded = np.frombuffer(block + bytes(3 * WORD), np.uint8)
    words = np.ndarray((len(block) + 1,), "<u8", padded, 0, (1,))
    heads = np.ndarray((len(block) + 1,), f"V{3 * WORD}", padded, 0, (1,))
    days, clock, rest = heads[starts].view("<u8").reshape(-1, 3).T
    if not np.all(rest & np.uint64(0xFF0000FF) == np.uint64(ord(":") | ord(",") << 24)):
        return None
    if not np.all((clock >> np.uint64(40)) & _BYTE == np.uint64(ord(":"))):
        return None
    minute = _SIXTIETHS[clock >> np.uint64(48)]
    second = _SIXTIETHS[(rest >> np.uint64(8)) & np.uint64(0xFFFF)]
    if max(minute.max(initial=0), second.max(initial=0)) == _INVALID:
        return None
    hour = _hours_by_run(days, clock & _LOW_40_BITS)
    if hour is None:
        return None
    celsius = _numbers(block, words, starts, ends)
    return None if celsius is None else Readings(hour, minute, second, celsius, first_line + positions)


def _line_bounds(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]] | None:
    """First and behind-last byte of each line that is not blank, without its LF or CRLF, and which line it is.

    None when a line is too short.
    """
    ends = np.flatnonzero(text == ord("\n"))
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    # The first line may be empty: position -1 then is the block's last byte, a line feed, and no carriage return.
    ends = ends - (text[ends - 1] == ord("\r"))
    lengths = ends - starts
    shortest = lengths.min(initial=TIMESTAMP_AND_COMMA)
    if shortest >= TIMESTAMP_AND_COMMA:
        return starts, ends, np.arange(len(ends))
    filled = np.flatnonzero(lengths)
    if lengths[filled].min(initial=TIMESTAMP_AND_COMMA) < TIMESTAMP_AND_COMMA:
        return None
    return starts[filled], ends[filled], filled


def _hours_by_run(days: U64, hours: U64) -> NDArray[np.int64] | None:
    """Hours since 1970 of each row, parsed once for each run of rows of the same hour.

    Args:
        days: words ``YYYY-MM-``.
        hours: words ``DD HH`` with three zero bytes.
    """
    if not len(days):
        return np.empty(0, np.int64)
    starts = np.flatnonzero((days[1:] != days[:-1]) | (hours[1:] != hours[:-1])) + 1
    starts = np.concatenate(([0], starts))
    parsed = _parse_hours(days[starts], hours[starts])
    return None if parsed is None else np.repeat(parsed, np.diff(starts, append=len(days)))


def _parse_hours(days: U64, hours: U64) -> NDArray[np.int64] | None:
    def two_digits(word: U64, position: int, table: NDArray[np.uint8]) -> NDArray[np.int64]:
        return table[(word >> np.uint64(8 * position)) & np.uint64(0xFFFF)].astype(np.int64)

    def character(word: U64, position: int) -> U64:
        return (word >> np.uint64(8 * position)) & _BYTE

    century, year = two_digits(days, 0, _TWO_DIGITS), two_digits(days, 2, _TWO_DIGITS)
    month, day = two_digits(days, 5, _TWO_DIGITS), two_digits(hours, 0, _TWO_DIGITS)
    hour = two_digits(hours, 3, _HOURS_OF_DAY)
    dash = np.uint64(ord("-"))
    well_formed = (
        (century != _INVALID) & (year != _INVALID) & (month >= 1) & (month <= 12) & (day >= 1) & (hour != _INVALID)
        & (character(days, 4) == dash) & (character(days, 7) == dash) & (character(hours, 2) == np.uint64(ord(" ")))
    )  # fmt: skip
    if not well_formed.all():
        return None
    year = 100 * century + year
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    if np.any((day > _DAYS_IN_MONTH[month] + (leap & (month == 2))) | (year == 0)):
        return None
    months = (12 * (year - 1970) + month - 1).astype("M8[M]")
    return (months.astype("M8[D]").astype(np.int64) + day - 1) * 24 + hour


def _numbers(
    block: bytes, words: U64, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    lengths = ends - starts - TIMESTAMP_AND_COMMA
    long = np.flatnonzero(lengths > WORD)
    if not len(long):
        return _short_numbers(words[ends - WORD], lengths)
    lengths[long] = 0
    celsius = _short_numbers(words[ends - WORD], lengths)
    if celsius is None:
        return None
    for row in long:
        number = block[starts[row] + TIMESTAMP_AND_COMMA : ends[row]]
        if not _LONG_NUMBER.fullmatch(number):
            return None
        celsius[row] = float(number)
    return celsius if np.all(np.abs(celsius[long]) <= LARGEST_NUMBER) else None


def _short_numbers(word: U64, lengths: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Decimal numbers of up to eight characters, NaN for none; None when a field is anything else.

    A mantissa below 10**8 and a power of ten up to 10**8 are exact doubles, so one division gives the same double as
    ``float(text)``.

    Args:
        word: the last eight bytes of each line.
        lengths: how many of them belong to the number, 0 to 8.
    """
    bits = _NUMBER_BITS[lengths]
    word = (word & bits) | (_ZEROS & ~bits)
    shift = _FIRST_CHARACTER_SHIFT[lengths]
    negative = (word >> shift) & _BYTE == _MINUS
    word ^= (negative * _MINUS_TO_ZERO) << shift

    # The lowest zero byte of word ^ dots is the first dot; a second one stays in the word and fails as a digit.
    without = word ^ _DOTS
    dots = (without - _ONES) & ~without & _HIGH_BITS
    dotted = dots != 0
    dot = (dots & (~dots + np.uint64(1))) >> np.uint64(7)
    before_dot = dot - np.uint64(1)
    closed = (word & ~(before_dot | dot * _BYTE)) | ((word & before_dot) << np.uint64(8)) | np.uint64(ord("0"))
    word = np.where(dotted, closed, word)
    decimals = np.where(dotted, 7 - (np.bitwise_count(before_dot) >> 3).astype(np.int64), 0)

    digits_only = (word & _HIGH_NIBBLES == _ZEROS) & ((word + _SIXES) & _HIGH_NIBBLES == _ZEROS)
    blank = lengths == 0
    if not np.all(digits_only & (blank | (lengths - negative - dotted > 0))):
        return None
    celsius = _eight_digits(word) / _POWERS_OF_TEN[decimals]
    np.negative(celsius, out=celsius, where=negative)
    celsius[blank] = np.nan
    return celsius


def _eight_digits(word: U64) -> U64:
    """Numbers of eight ASCII digits each: pairs of digits, then of pairs, then of fours are joined in place."""
    pairs = ((word & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(10 * 2**8 + 1)) >> np.uint64(8)
    fours = ((pairs & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(100 * 2**16 + 1)) >> np.uint64(16)
    return ((fours & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(10000 * 2**32 + 1)) >> np.uint64(32)
