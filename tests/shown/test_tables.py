"""Tables of what was taken for what: the counts, where each stands, and many classes in one."""

from __future__ import annotations

import re

from tests.ledger_rows import realistic
from tests.shown.test_report import task_data
from workflow.labels.ledger.figures import figures
from workflow.shown.report import render
from workflow.shown.report.tables import ADDED, DELETED, OTHERS, confusion, fates
from workflow.tasks import TASKS


def shown(matrix):
    return matrix.columns, {name: [cell.text for cell in cells] for name, cells in matrix.rows}


def test_what_guesses_became():
    became = {"": {"a": 1, "c": 2}, "a": {"": 1, "a": 3, "b": 4}, "b": {"b": 2}}
    matrix = fates(became, ["b", "a"])
    # The project's order, then by name.
    assert shown(matrix) == (
        ["b", "a", "c", DELETED],
        {
            "b": ["2", "0", "0", "0"],
            "a": ["4", "3", "0", "1"],
            "c": ["0", "0", "0", "0"],
            ADDED: ["0", "1", "2", ""],
        },
    )
    right = [[cell.right for cell in cells] for _, cells in matrix.rows]
    assert right == [[n == row and n < 3 for n in range(4)] for row in range(4)]
    assert [round(cell.share, 3) for cell in matrix.rows[1][1]] == [0.5, 0.375, 0, 0.125]
    assert fates({}, ["a"]) is None


def test_rare_classes_share_a_row_and_nothing_is_lost():
    labels = tuple(f"class {n:02}" for n in range(40))
    found = figures(realistic(labels), labels)
    matrix = fates(found.became, labels)
    assert matrix.columns[-2:] == [OTHERS, DELETED]
    assert len(matrix.columns) == 21
    counts = [int(cell.text or 0) for _, cells in matrix.rows for cell in cells]
    assert sum(counts) == found.all.guesses + found.all.counts["added"]


def test_both_confusions_stand_beside_each_other():
    for task in ("detection", "semantic-segmentation"):
        data = task_data(task)
        html = render(data)
        tables = re.findall(r"<h3>(before|after)</h3>(.*?)</table>", html, flags=re.DOTALL)
        assert [side for side, _ in tables] == ["before", "after"]
        for (_, table), numbers in zip(tables, (data.base, data.tuned), strict=True):
            expected = confusion(numbers, TASKS[task].kind == "pixels")
            cells = [cell.text for _, row in expected.rows for cell in row]
            assert re.findall(r"<td class[^>]*>(.*?)</td>", table) == cells
