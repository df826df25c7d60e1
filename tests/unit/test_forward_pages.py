"""A list that is read forward is read to its end, or is an error: never without end (C2)."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.carriers.control_center import ControlCenterClient, control_center_capabilities
from core.carriers.forward_pages import MAX_EMPTY_PAGES, REREADS, ForwardPage, forward_pages
from core.carriers.http import JsonReply
from core.errors import CarrierProtocolError


class Answers:
    """Gives answers, (values, last page), by page number or one after the other."""

    def __init__(self, answer, *, page_size=100):
        self.answer = answer
        self.page_size = page_size
        self.asked = []

    def __call__(self, number):
        self.asked.append(number)
        found = self.answer(number, len(self.asked))
        if found is None:
            return None
        values, is_last = found
        rows = pl.DataFrame({"code": values}, schema={"code": pl.Int64})
        rows = rows.with_columns(usage=len(self.asked))  # it grows while the list is read
        return ForwardPage(
            number=number,
            rows=rows,
            raw=values,
            keys=("code",),
            is_last=is_last,
            is_full=len(values) >= self.page_size,
        )

    def read(self, max_pages=20):
        pages = forward_pages(self, max_pages=max_pages, what="the list")
        return [(page.number, page.rows["code"].to_list()) for page in pages]


@pytest.mark.parametrize(
    ("end", "rows"),
    [(([3], True), [1, 2, 3]), (([], True), [1, 2]), (([], None), [1, 2]), (None, [1, 2])],
)
def test_a_list_ends_where_the_carrier_says_or_a_page_is_empty(end, rows):
    pages = {1: ([1], None), 2: ([2], False), 3: end, 4: None}
    answers = Answers(lambda number, _: pages[number])
    assert [value for _, values in answers.read() for value in values] == rows
    assert answers.asked == [1, 2, 3] + [3, 4] * (len(rows) == 2)  # an end that nothing foretold


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_page_that_is_empty_once_loses_no_rows(number):
    pages = {1: ([1], False), 2: ([2], False), 3: ([3], True)}
    asked = []

    def answer(wanted, _):
        asked.append(wanted)
        is_it = wanted == number and asked.count(number) == 1
        return ([], True) if is_it else pages[wanted]

    assert [value for _, values in Answers(answer).read() for value in values] == [1, 2, 3]


def test_a_page_that_stays_empty_before_one_that_is_not_is_an_error():
    pages = {1: ([1], False), 2: ([], True), 3: ([3], True)}
    answers = Answers(lambda number, _: pages[number])
    with pytest.raises(CarrierProtocolError, match="page 2 is empty and the last one, but page 3"):
        answers.read()


def test_an_empty_page_is_no_end_where_the_carrier_says_that_more_follow():
    pages = {1: ([1], False), 2: ([], False), 3: ([], False), 4: ([4], True)}
    answers = Answers(lambda number, _: pages[number])
    assert [codes for _, codes in answers.read()] == [[1], [], [], [4]]


def test_new_pages_without_end_are_an_error_after_the_most_pages():
    answers = Answers(lambda number, _: ([number], False))
    with pytest.raises(CarrierProtocolError, match="the list goes on after 20 pages"):
        answers.read()
    assert answers.asked == list(range(1, 21))


@pytest.mark.parametrize("is_last", [False, None])
def test_the_same_page_again_and_again_is_an_error_after_a_few_calls(is_last):
    answers = Answers(lambda *_: ([7], is_last))
    with pytest.raises(CarrierProtocolError, match="pages 1 and 2 are the same"):
        answers.read(max_pages=200_000)
    assert answers.asked == [1, 2, *[1, 2] * REREADS]


def test_a_page_under_a_wrong_number_once_is_read_again():
    true = {1: ([1], False), 2: ([2], False), 3: ([3], True)}
    answers = Answers(lambda number, call: true[1 if call == 2 else number])
    assert answers.read() == [(1, [1]), (1, [1]), (2, [2]), (3, [3])]


def test_rows_without_a_key_are_not_taken_for_the_same():
    pages = {1: ([None, None], False), 2: ([None, None], True)}
    answers = Answers(lambda number, _: pages[number])
    assert answers.read() == [(1, [None, None]), (2, [None, None])]


@pytest.mark.parametrize(
    ("after", "asked"), [(None, [1, 2]), (([], True), [1, 2]), (([1, 1], True), [1, 2])]
)
def test_nothing_new_after_a_full_last_page_is_the_end(after, asked):
    answers = Answers(lambda number, _: ([1, 1], True) if number == 1 else after, page_size=2)
    assert answers.read() == [(1, [1, 1])]
    assert answers.asked == asked


def test_rows_after_a_full_last_page_are_read_once():
    pages = {1: ([1, 2], True), 2: ([3, 4], False), 3: ([5], True)}
    answers = Answers(lambda number, _: pages[number], page_size=2)
    assert answers.read() == [(1, [1, 2]), (2, [3, 4]), (3, [5])]
    assert answers.asked == [1, 2, 3]


def test_empty_pages_of_which_none_is_the_last_are_an_error_after_a_few_calls():
    answers = Answers(lambda *_: ([], False))
    with pytest.raises(CarrierProtocolError, match="are empty, and yet"):
        answers.read(max_pages=200_000)
    assert len(answers.asked) == MAX_EMPTY_PAGES + 1


@given(
    st.lists(
        st.none()
        | st.tuples(st.lists(st.integers(0, 2), max_size=2), st.sampled_from([True, False, None])),
        min_size=1,
    )
)
def test_whatever_is_answered_the_reading_ends(script):
    answers = Answers(lambda _, call: script[call % len(script)])
    try:
        assert len(answers.read(max_pages=30)) <= 2 * 30
    except CarrierProtocolError as error:
        assert "the list" in str(error)  # noqa: PT017
    assert len(answers.asked) <= 30 * (1 + 2 * REREADS)


class PlanPages:
    """The part of the HTTP client that lists rate plans."""

    def __init__(self, *pages):
        self.pages = pages

    def get(self, _, params):
        return JsonReply(status=200, content=self.pages[params["pageNumber"] - 1], served_at=None)


def test_the_list_of_rate_plans_goes_on_where_the_last_page_is_said_to_be_another_one_in_words():
    http = PlanPages(
        {"ratePlans": [{"name": "A", "version": "1"}], "lastPage": "false"},
        {"ratePlans": [{"name": "B"}], "lastPage": {}},
        {"ratePlans": [{"name": "A", "version": "2"}], "lastPage": "true"},
    )
    client = ControlCenterClient(http, control_center_capabilities())
    plans = client.rate_plans().sort("code")
    assert plans.rows() == [("A", None, "2"), ("B", None, None)]
