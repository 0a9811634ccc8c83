import pytest

from benchmarks import report, wrk
from benchmarks.bench import median, percentile
from benchmarks.reading_rows import Goal, Row, at_least, at_most, ratio_of
from benchmarks.work import MEASUREMENTS


@pytest.mark.parametrize(
    ("goal", "figure", "peer_figure", "verdict"),
    [
        (ratio_of(1.2), 12.0, 10.0, "met"),
        (ratio_of(1.2), 11.9, 10.0, "missed"),
        (ratio_of(1.2), 12.0, None, "not measured"),
        (at_most(30), 30.0, None, "met"),
        (at_most(30), 30.1, None, "missed"),
        (at_least(300_000), 299_999.0, None, "missed"),
        (at_least(300_000), None, None, "not measured"),
        (None, 5.0, None, ""),
        (None, None, None, "not measured"),
    ],
)
def test_a_goal_is_reported_as_met_missed_or_not_measured(
    goal: Goal | None, figure: float | None, peer_figure: float | None, verdict: str
) -> None:
    row = Row("work", "unit", figure, "peer", peer_figure, goal)
    assert row.verdict == verdict
    assert row.as_json()["verdict"] == verdict


def test_the_table_has_figures_ratio_goal_and_reason() -> None:
    rows = [
        Row("single POST", "requests/s", 2_412.3, "Go", 5_000.0, ratio_of(0.5), "p50 1 ms"),
        Row("chart", "ms", goal=at_most(30), note="it was not there"),
    ]
    assert report.markdown(rows, {"memory": "24 GiB"}).splitlines()[2:] == [
        "| single POST | requests/s | 2,412 | Go | 5,000 | 0.48 × | ≥ 0.5 × | missed; p50 1 ms |",
        "| chart | ms |  |  |  |  | ≤ 30 | not measured; it was not there |",
        "",
        "- memory: 24 GiB",
    ]


def test_a_full_run_replaces_only_the_previous_full_run() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}after\n"
    new = report.with_table(page, "new\n")
    assert new == f"before\n{report.BEGIN}\nnew\n\n{report.END}after\n"
    assert (
        report.with_table(report.PERFORMANCE.read_text(encoding="utf-8"), "x").count("\nx\n") == 1
    )


def test_medians_and_percentiles_are_measured_values() -> None:
    assert median([3.0, 1.0, 2.0]) == 2
    assert median([4.0, 1.0, 3.0, 2.0]) == 2
    assert percentile([float(number) for number in range(1, 101)], 95) == 95
    assert percentile([1.0], 95) == 1


def test_the_output_of_wrk_is_parsed() -> None:
    output = (
        "Running 5s test\n"
        'RESULT {"requests": 5000, "microseconds": 2500000, "refused": 0, "broken": 0, '
        '"p50_ms": 1.5, "p99_ms": 9.0}\n'
    )
    assert wrk.parse(output).per_second == 2_000


def test_every_measurement_has_a_description() -> None:
    assert all(measure.__doc__ for measure in MEASUREMENTS.values())
