"""What is shown of the lower bound and of the legacy method's cost."""

from __future__ import annotations

import pytest

from cli.proof_lines import proof_lines


@pytest.mark.parametrize(
    ("cost", "bound", "line"),
    [
        (
            1_234_567_000_000, 1_234_000_000_000,
            "no allowed assignment costs less than 1,234,000.00; this one is within 0.0460 %",
        ),
        # The bound 9.999999 is shown as no more than it is, the gap of 0.00001 % as no less.
        (10_000_000, 9_999_999, "no allowed assignment costs less than 9.99; this one is within 0.0001 %"),
        (3_000_000, 1_000_000, "no allowed assignment costs less than 1.00; this one is within 200.0000 %"),
        (7, 7, "no allowed assignment costs less: this one is proven optimal"),
        (0, 0, "no allowed assignment costs less: this one is proven optimal"),
        (5, 0, "no allowed assignment costs less than 0.00"),
    ],
)  # fmt: skip
def test_the_bound_and_the_gap_are_told_in_one_line_that_stays_true(cost, bound, line):
    assert proof_lines(cost, bound, None) == [line]


def test_a_cost_above_the_bound_is_called_optimal_where_the_solver_says_so():
    (line,) = proof_lines(101, 100, None, is_optimal=True)
    assert line.endswith(
        "within 1.0000 %; it is optimal: the solver of small units found that none costs less"
    )
    assert "it is optimal" not in proof_lines(101, 100, None)[0]


def test_one_walk_is_not_called_the_legacy_method():
    assert proof_lines(1, None, 2_000_000, is_walk=True) == [
        "this walk of the legacy method, reconstructed, would cost 2.00"
    ]


def test_the_legacy_figure_is_told_as_a_reconstruction():
    assert proof_lines(1, None, 1_234_565_000) == [
        "the legacy method, reconstructed, would cost 1,234.56"
    ]


def test_of_what_is_not_known_nothing_is_told():
    assert proof_lines(1, None, None) == []
