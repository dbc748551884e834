"""Bad input gives one clear error that names object, line, what was expected and found; never anything else."""

import gzip
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tempagg_pipeline.core.aggregation import BAD_ROWS_REMEMBERED, Aggregation, aggregate
from tempagg_pipeline.core.errors import InvalidInputError
from tempagg_pipeline.core.minute_csv.reader import LONGEST_LINE_BYTES
from tempagg_pipeline_tests.core.raw_files import Form, Row, cut, forms, rows

HEADER = b"Datetime,Temperature\n"
GOOD = b"2024-01-01 00:00:00,1.5\n"
BOM = b"\xef\xbb\xbf"


def _error(content: bytes, bad_rows_max_share: float = 0.0) -> InvalidInputError:
    with pytest.raises(InvalidInputError) as caught:
        aggregate([content], "temperature1.csv", bad_rows_max_share)
    return caught.value


@pytest.mark.parametrize("content", [b"", b"\n\n", b" \r\n", BOM, BOM + b"\n"])
def test_an_empty_file(content: bytes):
    assert str(_error(content)) == (
        "temperature1.csv: expected CSV text with the header Datetime,Temperature, found an empty file"
    )


@pytest.mark.parametrize("content", [HEADER, HEADER.strip(), BOM + HEADER, HEADER + b"\n\r\n"])
def test_a_header_only(content: bytes):
    assert str(_error(content)) == "temperature1.csv: expected rows below the header, found none"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"Datetime,Temp\n", "'Datetime,Temp'"),
        (b"Datetime\n", "'Datetime'"),
        (b"datetime,temperature\n", "'datetime,temperature'"),
        (b"Datetime;Temperature\n", "'Datetime;Temperature'"),
        (b"Datetime\tTemperature\n", "'Datetime\\tTemperature'"),
        (b"Datetime,Temperature,Temperature\n", "'Datetime,Temperature,Temperature'"),
        (GOOD, "'2024-01-01 00:00:00,1.5'"),
        (b"<!DOCTYPE html>\n", "'<!DOCTYPE html>'"),
        (b'"Datetime,Temperature\n', "'\"Datetime,Temperature'"),
        (b"a" * 99 + b"\n", "'" + "a" * 60 + "…'"),
    ],
)
def test_a_wrong_header(header: bytes, found: str):
    assert str(_error(header + GOOD)) == (
        f"temperature1.csv, line 1: expected a header with the columns Datetime and Temperature, found {found}"
    )


def test_lines_ended_by_carriage_return_alone():
    error = _error((HEADER + GOOD).replace(b"\n", b"\r"))
    assert "found lines ended by CR alone" in str(error)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2024-01-01 00:01,1", "Datetime: expected YYYY-MM-DD HH:MM:SS, found '2024-01-01 00:01'"),
        (b"01/02/2024 00:01:00,1", "Datetime: expected YYYY-MM-DD HH:MM:SS, found '01/02/2024 00:01:00'"),
        (b"2024-01-01T00:01:00Z,1", "Datetime: expected YYYY-MM-DD HH:MM:SS, found '2024-01-01T00:01:00Z'"),
        (b",1", "Datetime: expected YYYY-MM-DD HH:MM:SS, found ''"),
        (b"2023-02-29 00:01:00,1", "Datetime: expected a date and hour that exist, found '2023-02-29 00'"),
        (b"2024-01-01 24:01:00,1", "Datetime: expected a date and hour that exist, found '2024-01-01 24'"),
        (b"0000-01-01 00:01:00,1", "Datetime: expected a date and hour that exist, found '0000-01-01 00'"),
        (b"2024-01-01 00:01:00,warm", "Temperature: expected a number or nothing, found 'warm'"),
        (b"2024-01-01 00:01:00,nan", "Temperature: expected a number or nothing, found 'nan'"),
        (b"2024-01-01 00:01:00,inf", "Temperature: expected a number or nothing, found 'inf'"),
        (b"2024-01-01 00:01:00,1_0", "Temperature: expected a number or nothing, found '1_0'"),
        (b"2024-01-01 00:01:00,1\xc2\xb0C", "Temperature: expected a number or nothing, found '1°C'"),
        (b"2024-01-01 00:01:00,1e400", "Temperature: expected a number within 1e+100, found '1e400'"),
        (b"2024-01-01 00:01:00,1,5", "expected 2 fields, found 3: '2024-01-01 00:01:00,1,5'"),
        (b"2024-01-01 00:01:00", "expected 2 fields, found 1: '2024-01-01 00:01:00'"),
        (BOM + b"2024-01-01 00:01:00,1", "Datetime: expected YYYY-MM-DD HH:MM:SS, found '\\ufeff2024-01-01 00:01:00'"),
        (HEADER.strip(), "Datetime: expected YYYY-MM-DD HH:MM:SS, found 'Datetime'"),
        (b"2024-01-01 00:01:00,1\xb0", "expected UTF-8 text, found byte 0xb0 in '2024-01-01 00:01:00,1\\\\xb0'"),
        (b"2024-01-01 00:01:00,1\0", "Temperature: expected a number or nothing, found '1\\x00'"),
        (b'2024-01-01 00:01:00,"1"2', "expected well-formed CSV, found: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_named_with_its_line(row: bytes, reason: str):
    error = _error(HEADER + GOOD + b"\n" + row + b"\n" + GOOD)
    assert (error.source, error.line, error.reason) == ("temperature1.csv", 4, reason)


def test_a_carriage_return_within_a_line():
    error = _error(HEADER + GOOD.strip() + b"\r" + GOOD)
    assert error.line == 2
    assert "expected well-formed CSV" in error.reason


def test_a_bad_row_far_down_has_the_right_line():
    content = HEADER + GOOD * 30_000 + b"\r\n" + GOOD * 5 + b"oops\n" + GOOD * 30_000
    assert _error(content).line == 30_008


@pytest.mark.parametrize("cut_off", [b"2024-01-01 00:0", b"2024-01-01 00:01:00", b"2024-01-01 00:01:00,-", b'"2024-01'])
def test_a_last_line_cut_off_is_hinted_at(cut_off: bytes):
    error = _error(HEADER + GOOD + cut_off)
    assert error.line == 3
    assert error.reason.endswith("; the last line has no line end: the file may be cut off")


def test_a_bad_row_before_the_last_line_has_no_such_hint():
    assert "cut off" not in str(_error(HEADER + b"oops\n" + GOOD.strip()))


def test_a_cut_that_leaves_a_number_is_told_by_the_profile():
    profile = aggregate([HEADER + GOOD + b"2024-01-01 00:01:00,-1"], "a.csv").profile
    assert not profile.last_line_ended


def test_a_quote_that_never_closes_is_named_where_it_opens():
    content = HEADER + GOOD + b'"2024-01-01 00:01:00,1\n' + GOOD * 10_000
    error = _error(content, bad_rows_max_share=1.0)
    assert error.line == 3
    assert error.reason.startswith("expected a quoted field that ends")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16(encoding: str):
    error = _error((HEADER + GOOD).decode().encode(encoding))
    assert (error.line, error.reason) == (
        1,
        "expected CSV text with the header Datetime,Temperature in UTF-8, found UTF-16",
    )


@pytest.mark.parametrize(
    "content",
    [bytes(10_000), np.random.default_rng(1).bytes(100_000), gzip.compress(HEADER + GOOD), b"\x89PNG\r\n\x1a\n\0\0"],
)
def test_binary_rubbish(content: bytes):
    assert _error(content).line == 1


@pytest.mark.parametrize("rubbish", [bytes(4 * LONGEST_LINE_BYTES), b"x" * 4 * LONGEST_LINE_BYTES])
def test_an_endless_line_is_refused_before_it_fills_memory(rubbish: bytes):
    read: list[int] = []

    def chunks():
        yield HEADER + GOOD
        for start in range(0, len(rubbish), 65536):
            read.append(start)
            yield rubbish[start : start + 65536]

    with pytest.raises(InvalidInputError, match="line 3: expected lines ended by LF or CRLF, found one longer"):
        aggregate(chunks(), "a.csv")
    assert len(read) * 65536 < 2 * LONGEST_LINE_BYTES


@pytest.mark.parametrize("place", [0, 1, 20_000, 40_000])
def test_a_mistyped_year_is_named_with_its_line(place: int):
    lines = [GOOD] * 40_000
    lines.insert(place, b"0204-01-01 00:00:00,1\n")
    error = _error(HEADER + b"".join(lines))
    assert error.line == place + 2
    assert error.reason == (
        "expected timestamps within 200 years of each other, found 0204-01-01 00:00:00 and 2024-01-01 00:00:00"
    )


def test_the_error_survives_pickling():
    error = _error(HEADER + b"oops\n")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(again), again.line) == (str(error), error.line)


# --- rows may be skipped


def test_bad_rows_are_skipped_up_to_the_share_and_counted():
    found = aggregate([HEADER + GOOD * 9 + b"oops\n"], "a.csv", bad_rows_max_share=0.1)
    assert (found.profile.rows, found.profile.bad_rows) == (9, 1)
    assert found.profile.bad_row_examples[0].line == 11


def test_more_bad_rows_than_may_be_are_one_error_with_the_first():
    error = _error(HEADER + GOOD * 8 + b"oops\n" + b"2024-01-01 00:00:00,x\n", bad_rows_max_share=0.1)
    assert str(error) == (
        "temperature1.csv, line 10: 2 of 10 rows are unreadable, more than the 10.000% that may be;"
        " the first: expected 2 fields, found 1: 'oops'"
    )


def test_every_kind_of_bad_row_within_its_line_can_be_skipped():
    bad = [b"oops", b"\xff", b"1\r2", b'"1"2', b"2023-02-29 00:00:00,1", b"2024-01-01 00:00:00,x"]
    found = aggregate([HEADER + b"\n".join(bad) + b"\n" + GOOD], "a.csv", bad_rows_max_share=0.9)
    assert (found.profile.rows, found.profile.bad_rows) == (1, len(bad))
    assert [example.line for example in found.profile.bad_row_examples] == [2, 3, 4, 5, 6, 7]


def test_only_a_few_examples_are_remembered():
    found = aggregate([HEADER + b"oops\n" * 100 + GOOD], "a.csv", bad_rows_max_share=1.0)
    assert (found.profile.bad_rows, len(found.profile.bad_row_examples)) == (100, BAD_ROWS_REMEMBERED)


def test_a_file_of_bad_rows_alone_is_an_error_whatever_the_share():
    assert str(_error(HEADER + b"oops\n" * 3, bad_rows_max_share=1.0)) == (
        "temperature1.csv: expected rows below the header, found 3 unreadable ones"
    )


@given(rows(), st.lists(st.integers(0, 100), max_size=5))
def test_skipped_rows_leave_the_rest_as_it_was(readings: list[Row], places: list[int]):
    lines = [f"{stamp},{text}\n".encode() for stamp, text in readings]
    spoilt = list(lines)
    for place in places:
        spoilt.insert(place % (len(spoilt) + 1), b"2024-13-01 00:00:00,1\n")
    clean = aggregate([HEADER, *lines], "a.csv")
    found = aggregate([HEADER, *spoilt], "a.csv", bad_rows_max_share=1.0)
    assert found.profile.bad_rows == len(places)
    assert b"".join(found.table.csv_pieces()) == b"".join(clean.table.csv_pieces())


# --- fuzz


def _result_or_clear_error(content: bytes, cuts: list[int], share: float) -> Aggregation | str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = aggregate(cut(content, cuts), "a.csv", share)
        except InvalidInputError as error:
            message = str(error)
        else:
            assert b"".join(found.table.csv_pieces()).count(b"\n") == len(found.table) + 1
            return found
    assert message.startswith("a.csv")
    assert "\n" not in message
    return message


cuts = st.lists(st.integers(0), max_size=5)
shares = st.sampled_from([0.0, 0.5, 1.0])


@given(st.binary(max_size=300), st.booleans(), cuts, shares)
@example(b"\xef\xbb\xbf", False, [], 0.0)
def test_any_bytes_give_a_result_or_a_clear_error(content: bytes, with_header: bool, where: list[int], share: float):
    _result_or_clear_error((HEADER if with_header else b"") + content, where, share)


spoiling = st.binary(max_size=3) | st.sampled_from([b'"', b"\n", b"\r", b",", BOM])
mutations = st.lists(st.tuples(st.integers(0), st.integers(0, 3), spoiling), min_size=1, max_size=4)


@given(rows(), forms, mutations, cuts, shares)
def test_a_spoilt_file_gives_a_result_or_a_clear_error_wherever_it_is_cut(
    readings: list[Row], form: Form, spoil: list[tuple[int, int, bytes]], where: list[int], share: float
):
    content = form.write(readings)
    for place, removed, put in spoil:
        at = place % (len(content) + 1)
        content = content[:at] + put + content[at + removed :]
    whole, pieces = _result_or_clear_error(content, [], share), _result_or_clear_error(content, where, share)
    if isinstance(whole, str) or isinstance(pieces, str):
        assert whole == pieces
    else:
        assert whole.profile == pieces.profile
