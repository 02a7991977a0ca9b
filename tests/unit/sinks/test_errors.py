import pytest

from sinks.errors import (
    AWAY_CODES,
    REFUSED_CODES,
    UNFIT_CODES,
    JobAmbiguous,
    QueryFailed,
    Refusal,
    RowsRefused,
    WarehouseAway,
    WarehouseUnfit,
    of_command,
    of_insert,
    of_query,
)


@pytest.mark.parametrize("code", sorted(REFUSED_CODES))
def test_codes_about_the_body_refuse_rows(code):
    """A code that speaks of what is in the body calls for halving it."""
    assert type(of_insert(Refusal(code, 400, "text"))) is RowsRefused


@pytest.mark.parametrize("code", sorted(UNFIT_CODES))
def test_codes_about_the_warehouse_never_blame_rows(code):
    """A missing table or right must not send good rows to the dead letters, and a person must be told."""
    assert type(of_insert(Refusal(code, 404, "text"))) is WarehouseUnfit


@pytest.mark.parametrize("code", [*sorted(AWAY_CODES), 424_242])
def test_passing_and_unknown_codes_mean_wait(code):
    """What passes by itself, and what nobody listed, is waited out: waiting loses nothing."""
    assert type(of_insert(Refusal(code, 500, "text"))) is WarehouseAway


def test_no_code_is_in_two_tables():
    """The tables don't contradict each other."""
    assert not REFUSED_CODES & UNFIT_CODES
    assert not REFUSED_CODES & AWAY_CODES
    assert not UNFIT_CODES & AWAY_CODES


@pytest.mark.parametrize(
    ("text", "expected"),
    [("std::exception. type: avro::Exception, e.what() = EOF reached", RowsRefused), ("std::bad_alloc", WarehouseAway)],
)
def test_a_library_s_exception_is_told_by_its_text(text, expected):
    """Code 1001 wraps any library's exception: the Avro reader's is about the body, others are not."""
    assert type(of_insert(Refusal(1001, 500, text))) is expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (413, RowsRefused),
        (401, WarehouseUnfit),
        (404, WarehouseUnfit),
        (429, WarehouseAway),
        (502, WarehouseAway),
        (503, WarehouseAway),
        (504, WarehouseAway),
        (None, WarehouseAway),
    ],
)
def test_without_a_code_the_http_status_decides(status, expected):
    """A proxy's answer has no code of ClickHouse; none at all means that nothing answered."""
    assert type(of_insert(Refusal(None, status, "bad gateway"))) is expected


def test_a_wrong_query_carries_code_and_text():
    """A refused query keeps what ClickHouse said, for the person who typed it."""
    error = of_query(Refusal(62, 400, " Syntax error: failed at position 1 "))
    assert isinstance(error, QueryFailed)
    assert (error.code, error.message) == (62, "Syntax error: failed at position 1")
    assert type(of_query(Refusal(516, 403, "no"))) is WarehouseUnfit
    assert type(of_query(Refusal(None, None, "refused"))) is WarehouseAway
    assert type(of_query(Refusal(202, 500, "too many"))) is WarehouseAway
    assert type(of_query(Refusal(241, 500, "the query takes too much memory"))) is QueryFailed


@pytest.mark.parametrize(("code", "expected"), [(164, WarehouseUnfit), (243, WarehouseUnfit), (497, WarehouseUnfit)])
def test_a_table_can_t_be_made_now(code, expected):
    """A full disk or a read-only warehouse is no fault of the statement: the sink waits instead of ending."""
    assert type(of_command(Refusal(code, 500, "text"))) is expected
    assert type(of_command(Refusal(62, 400, "text"))) is QueryFailed


def test_an_ambiguous_job_names_the_tenants():
    """The person can see which tenants to choose from."""
    assert "'acme', 'globex'" in str(JobAmbiguous("job-1", ("acme", "globex")))
