import pytest
from harness import Time, clock, in_turn, median, publish, section, table


def test_contenders_take_turns_and_warm_up_is_not_kept():
    order = []

    def contender(name):
        def run():
            order.append(name)
            return Time(float(len(order)), 0.0)

        return run

    times = in_turn({name: contender(name) for name in "abc"}, rounds=2, warm_up=1)
    assert "".join(order) == "abcabcabc"
    assert [t.wall for t in times["b"]] == [5, 8]


def test_medians_are_taken_apart():
    assert median([Time(1, 9), Time(2, 7), Time(50, 8)]) == Time(2, 8)


def test_a_clock_counts_work_and_not_waiting():
    import time

    waited = clock(lambda: time.sleep(0.05))
    assert waited.wall >= 0.05
    assert waited.cpu < 0.04
    worked = clock(lambda: sum(i * i for i in range(300_000)))
    assert worked.cpu > 0


def test_a_report_is_appended(tmp_path, capsys):
    path = tmp_path / "r.md"
    lines = [*section("Title", "benchmarks/x.py", "2 cores", ["torch"], "2026-01-02"), *table(["a", "b"], [["1", "2"]])]
    publish(lines, str(path))
    publish(lines, str(path))
    text = path.read_text()
    assert text.count("## Title") == 2
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |\n" in text
    assert ", 2026-01-02: 2 cores; Python 3." in text
    assert "torch 2." in text
    assert capsys.readouterr().out.count("## Title") == 2


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(Exception, match="no_such_package"):
        section("Title", "x.py", "", ["no_such_package"])
