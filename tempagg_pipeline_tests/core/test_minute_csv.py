"""The two lanes: what the fast one takes it reads exactly as the careful one does, and it declines the rest."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tempagg_pipeline.core.minute_csv import BadRow, MinuteCsvReader, Readings, canonical, careful
from tempagg_pipeline.core.minute_csv.careful import Layout
from tempagg_pipeline_tests.core.raw_files import CANONICAL, Row, rows

LAYOUT = Layout(0, 1, 2)
STAMP = "2024-01-01 00:00:00,"
_EPOCH = datetime(1970, 1, 1)


def _careful(block: bytes) -> tuple[Readings | None, list[BadRow]]:
    bad: list[BadRow] = []
    lines = block.removesuffix(b"\n").split(b"\n")
    blocks = list(careful.read_rows(lines, 1, LAYOUT, "a.csv", bad.append))
    return (blocks[0] if blocks else None), bad


def _assert_lanes_agree(block: bytes) -> None:
    """Whatever the fast lane takes, the careful one reads to the same bits and finds nothing wrong with."""
    fast = canonical.decode(block, 1)
    if fast is None:
        return
    slow, bad = _careful(block)
    assert not bad
    if slow is None:
        assert len(fast.hour) == 0
        return
    for quick, exact in zip(fast, slow, strict=True):
        assert quick.tobytes() == exact.astype(quick.dtype).tobytes()


def _celsius(text: str) -> float:
    decoded = canonical.decode(f"{STAMP}{text}\n".encode(), 1)
    assert decoded is not None
    return float(decoded.celsius[0])


@given(rows(), st.sampled_from(["\n", "\r\n"]))
def test_lanes_agree_on_good_rows(readings: list[Row], line_end: str):
    _assert_lanes_agree("".join(f"{stamp},{text}{line_end}" for stamp, text in readings).encode())


@given(st.text(st.sampled_from("0123456789.-+eE _,\r\n\x00é"), max_size=12))
def test_lanes_agree_on_any_number_field(text: str):
    _assert_lanes_agree(f"{STAMP}{text}\n".encode())


@given(st.integers(0, 19), st.binary(min_size=1, max_size=2), st.binary(max_size=3))
def test_lanes_agree_on_a_mutated_row(at: int, put: bytes, rest: bytes):
    row = b"2024-02-29 23:59:59,12.5\n"
    _assert_lanes_agree(row + row[:at] + put + row[at + len(put) :] + rest + b"\n")


@given(st.from_regex(r"-?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})", fullmatch=True))
def test_the_fast_lane_reads_a_number_as_float_does(text: str):
    assert _celsius(text).hex() == float(text).hex()


@pytest.mark.parametrize("digits", range(1, 8))
def test_the_fast_lane_reads_every_place_of_the_dot(digits: int):
    for dot in range(digits + 1):
        text = "12345678"[:dot] + "." + "12345678"[dot:digits]
        assert _celsius(text) == float(text)
        assert _celsius("-" + text) == -float(text)


@pytest.mark.parametrize("text", ["-0", "-0.0", "-.0", "-0000000"])
def test_a_negative_zero_stays_negative(text: str):
    assert np.signbit(_celsius(text))


@pytest.mark.parametrize(
    "text",
    [
        "-", ".", "-.", "--1", "1-", "1.2.3", "..1", "+1", "1e5", " 1", "1 ", "nan", "inf", "-inf", "1_000", "0x10",
        "\u0661", "1,2", "12345678-", "123456789.1.2", "1\r\r", "1\0", "9" * 101, "9" * 400,
    ],
)  # fmt: skip
def test_the_fast_lane_declines_any_other_number(text: str):
    assert canonical.decode(f"{STAMP}{text}\n".encode(), 1) is None


@pytest.mark.parametrize(
    "stamp",
    [
        "2023-02-29 00:00:00", "1900-02-29 00:00:00", "2024-00-01 00:00:00", "2024-13-01 00:00:00",
        "2024-01-00 00:00:00", "2024-04-31 00:00:00", "2024-01-01 24:00:00", "2024-01-01 00:60:00",
        "2024-01-01 00:00:60", "0000-01-01 00:00:00", "2024/01/01 00:00:00", "2024-01-01T00:00:00",
        "2024-01-01 00.00:00", "2024-01-01 00:00.00", "20 4-01-01 00:00:00", "2024-01-01 0a:00:00",
        "2024-01-01 00:0a:00", "-024-01-01 00:00:00",
    ],
)  # fmt: skip
def test_neither_lane_takes_a_timestamp_that_does_not_exist(stamp: str):
    block = f"{stamp},1.5\n".encode()
    assert canonical.decode(block, 1) is None
    (bad,) = _careful(block)[1]
    assert bad.line == 1
    assert stamp[:13] in bad.reason


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_the_fast_lane_reads_any_timestamp(stamp: datetime):
    stamp = stamp.replace(microsecond=0)
    decoded = canonical.decode(f"{stamp.isoformat(' ')},1\n".encode(), 1)
    assert decoded is not None
    hour, minute, second = int(decoded.hour[0]), int(decoded.minute[0]), int(decoded.second[0])
    assert _EPOCH + timedelta(hours=hour, minutes=minute, seconds=second) == stamp


def test_the_fast_lane_passes_over_blank_lines_and_keeps_the_count_of_lines():
    decoded = canonical.decode(b"\n\r\n2024-01-01 00:00:00,1\n\n2024-01-01 00:01:00,2\r\n\n", 5)
    assert decoded is not None
    assert decoded.line.tolist() == [7, 9]


def test_a_block_of_blank_lines_has_no_readings():
    decoded = canonical.decode(b"\n\r\n\n", 1)
    assert decoded is not None
    assert len(decoded.hour) == 0


def _never(bad: BadRow) -> None:
    raise AssertionError(bad)


@given(rows())
def test_usual_files_never_take_the_slow_lane(readings: list[Row]):
    good = [(stamp, text) for stamp, text in readings if "e" not in text]
    content = CANONICAL.write(good)
    lanes: list[bytes] = []
    reader = MinuteCsvReader("a.csv", _never)
    reader._read_carefully = lambda *rest: lanes.append(b"") or iter(())  # type: ignore[method-assign]
    list(reader.read([content]))
    assert lanes == []


def test_a_quoted_field_may_go_on_over_lines_and_blocks():
    remark = "x" * 50_000 + "\n" + "y" * 50_000
    content = f'Datetime,Temperature,Remark\n2024-01-01 00:00:00,1,"{remark}"\n2024-01-01 00:01:00,2,z\n'.encode()
    blocks = list(MinuteCsvReader("a.csv", _never).read(content[at : at + 999] for at in range(0, len(content), 999)))
    assert [block.celsius.tolist() for block in blocks] == [[1.0, 2.0]]
    assert blocks[0].line.tolist() == [2, 4]


def test_blanks_around_fields_exponents_and_plus_signs_are_read():
    content = b" Datetime , Temperature \n 2024-01-01 00:00:00 , +1.5e1 \n2024-01-01 00:01:00,\t-2E-1\n"
    (block,) = MinuteCsvReader("a.csv", _never).read([content])
    assert block.celsius.tolist() == [15.0, -0.2]


@pytest.mark.parametrize("before", [b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n", b"  \n\t\n"])
def test_blank_lines_before_the_header_are_passed_over(before: bytes):
    content = before + b"Datetime,Temperature\n2024-01-01 00:00:00,1\n"
    for chunks in ([content], [content[at : at + 1] for at in range(len(content))]):
        (block,) = MinuteCsvReader("a.csv", _never).read(chunks)
        assert block.line.tolist() == [content.count(b"\n")]
