"""Whose change of a project's settings it is, without a server."""

from __future__ import annotations

import pytest

from workflow.labelstudio.push.conflict import Changes, compare

LABELS = '<Label value="a"/><Label value="$&#8288;1" alias="$1"/>'
OURS = f'<View><RectangleLabels name="l">{LABELS}</RectangleLabels></View>'
WITHOUT = OURS.replace('<Label value="a"/>', "")
OLDER = OURS.replace('value="$&#8288;1" alias="$1"', 'value="$1"')
THEIRS = OURS.replace('<Label value="a"/>', '<Label value="a"/><Label value="b"/>')
B = ["label 'b' of 'l' is only there"]


@pytest.mark.parametrize(
    ("server", "sent", "whose", "send", "conflicts"),
    [
        (OURS, OURS, "", False, None),
        # We changed ours.
        (THEIRS, THEIRS, "", True, None),
        # They changed theirs.
        (THEIRS, OURS, "", False, B),
        (THEIRS, OURS, "ours", True, B),
        (WITHOUT, OURS, "", False, ["label 'a' of 'l' is only here"]),
        (
            OURS.replace("<View>", "<View> "),
            OURS,
            "",
            False,
            ["other than the project's, with the same labels"],
        ),
        ("no XML", OURS, "", False, ["no XML there"]),
        # An older version wrote no word of what it sent: only a label that would go is somebody's.
        (THEIRS, None, "", False, B),
        (WITHOUT, None, "", True, None),
        (OLDER, None, "", True, None),
    ],
)
def test_whose_change_it_is(
    server: str, sent: str | None, whose: str, send: bool, conflicts: list[str] | None
) -> None:
    known = {"sent": {"label_config": sent}} if sent else {}
    changes = compare({"label_config": OURS}, {"label_config": server}, known, whose)  # type: ignore[arg-type]
    assert changes.send == ({"label_config": OURS} if send else {})
    assert changes.conflicts == ({"label_config": conflicts} if conflicts else {})


def test_what_was_kept_is_not_asked_about_again() -> None:
    known: dict = {"sent": {"label_config": OURS}}
    wanted, server = {"label_config": OURS}, {"label_config": THEIRS}
    kept = compare(wanted, server, known, "theirs").kept
    known |= {"kept": kept}
    assert compare(wanted, server, known, "") == Changes({}, {}, kept)
    # Either side's next change is.
    assert compare(wanted, {"label_config": WITHOUT}, known, "").conflicts
    assert compare({"label_config": OURS + " "}, server, known, "").conflicts
    assert compare(wanted, server, known, "ours").send == wanted
