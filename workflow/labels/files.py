"""The files that hold what people say of a project's images: labels, ledger, disagreements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from workflow.labels import edits, history
from workflow.labels.judging import Judgement
from workflow.labels.work import Work
from workflow.project.paths import Project
from workflow.project.rowfile import RowFile
from workflow.project.rows import Row, annotation_from_row, sample_to_row
from workflow.records import Annotation, ImageRecord, Sample
from workflow.shapes import overlap

DECIDED = ("reviewed", "skipped")
# An outline that was made simpler to be shown is still the same one: the least overlap of the two.
SAME_IOU = 0.8


class LabelFiles:
    """labels.jsonl, ledger.jsonl and disagreements.jsonl as a pull will leave them; `write` replaces them."""

    def __init__(self, project: Project, records: Mapping[str, ImageRecord]) -> None:
        self.project, self.records = project, records
        self.labels = RowFile(project.labels, records=records.values())
        self.ledger = RowFile(project.ledger)
        self.disagreements = RowFile(project.disagreements)
        self.losses: Counter[str] = Counter()

    def model_of(self, image: str, annotation: int) -> str:
        """Whose guesses the person of that annotation started from, as an earlier pull wrote it down."""
        rows = self.ledger.rows(image)
        return next((row.get("model", "") for row in rows if row["annotation"] == annotation), "")

    def stands(self, work: Work) -> bool:
        """Whether an image's line counts for more than this: it is a later decision of another task of the
        image (a double somebody worked on), or it was imported, and nobody has decided yet.
        """
        known = self.labels.row(work.image) or {}
        if "imported" in known:
            return not work.opinions
        if known.get("task") in (work.task, None) or known["state"] not in DECIDED:
            return False
        return not work.opinions or max(opinion.at for opinion in work.opinions) < known["at"]

    def put(self, judgement: Judgement) -> None:
        """Take what counts of one image."""
        image = judgement.sample.image
        row = self._with_ignored(sample_to_row(judgement.sample), judgement.shown)
        self.labels.put(image, self._or_edited(row))
        self.ledger.put(image, *judgement.entries)
        self.disagreements.put(image, *([judgement.disagreement] if judgement.disagreement else []))
        self.losses.update(judgement.losses)

    def _or_edited(self, row: Row) -> Row:
        """A line as somebody edited it elsewhere, while those who review say what they said before."""
        known = self.labels.row(row["image"]) or {}
        if "edited" not in known:
            return row
        if edits.decided_anew(known, row):
            where = known["edited"]["in"]
            self.losses[f"images edited in {where} that were labeled anew since, which counts"] += 1
            return row
        return known

    def _with_ignored(self, row: Row, shown: Sequence[Annotation]) -> Row:
        """A line with what was ignored on its image before and nobody saw while they reviewed, or could undo.

        What a person's region said is the person's to take back; so is what came by an import and was `shown`
        as a guess. What is kept comes first, so that what people paint lies on top.
        """
        before = (self.labels.row(row["image"]) or {}).get("annotations", [])
        ignored = [a for a in before if a.get("ignored") and a["provenance"]["kind"] != "person"]
        ignored = [a for a in ignored if not _is_among(annotation_from_row(a), shown)]
        if not ignored:
            return row
        if row["state"] != "reviewed":
            self.losses["ignored annotations of images that nobody has reviewed now"] += len(ignored)
            return row
        return row | {"annotations": ignored + row["annotations"]}

    def look_for_deleted(self, tasks: Collection[int], drop: bool) -> None:
        """Images with labels whose task is none of `tasks`, all there are: with `drop` they are forgotten."""
        for image in list(self.labels):
            row = self.labels.row(image) or {}
            if row.get("task") in tasks or "imported" in row:
                continue
            if row["state"] not in DECIDED:
                self.labels.drop(image)
            elif drop:
                self.labels.drop(image)
                self.ledger.drop(image)
                self.losses["labels dropped, as their tasks were deleted (workflow history has them)"] += 1
            else:
                self.losses["labels kept whose tasks were deleted (--drop-deleted forgets them)"] += 1

    def settle(self) -> None:
        """A line for each image of the catalog; of others only what people decided is kept."""
        for image in set(self.labels) - self.records.keys():
            if (self.labels.row(image) or {})["state"] in DECIDED:
                self.losses["labels kept whose images are not in the catalog"] += 1
            else:
                self.labels.drop(image)
        for image in self.records.keys() - set(self.labels):
            self.labels.put(image, sample_to_row(Sample(image, "unlabeled")))

    def write(self, by: str) -> int:
        """Replace what has changed, and keep what it said before in the history; of how many images."""
        changed = len(self.labels.changed())
        done = history.save(self.project, self.labels, by)
        self.ledger.write()
        self.disagreements.write()
        return changed if done else 0

    def counts(self) -> Counter[str]:
        """Images by state; under `annotations` and `empty` what is on the reviewed ones, and how many have
        none.
        """
        counts: Counter[str] = Counter()
        for image in self.records:
            row = self.labels.row(image) or {}
            counts[row["state"]] += 1
            if row["state"] == "reviewed":
                counts["annotations"] += len(row["annotations"])
                counts["empty"] += not row["annotations"]
        return counts


def _is_among(annotation: Annotation, others: Sequence[Annotation]) -> bool:
    same = [other for other in others if other.label == annotation.label]
    return bool((overlap.iou([annotation], same) >= SAME_IOU).any())
