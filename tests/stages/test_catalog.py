from __future__ import annotations

import os
import shutil
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.samples import draw_project
from workflow.commands import status
from workflow.errors import StageError
from workflow.images import decode
from workflow.project.paths import Project, load_project
from workflow.project.rows import read_catalog, read_rows, write_rows
from workflow.project.settings import SplitRule
from workflow.stages import catalog

TOML = 'name = "pets"\ntitle = "Pets"\nclasses = ["cat"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project.toml").write_text(TOML)
    folder = tmp_path / "data" / "images" / "deep"
    folder.mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (20 + number, 10), (number, 0, 0)).save(folder / f"{number}.png")
    return load_project(tmp_path)


def test_images_duplicates_and_quarantine(project: Project) -> None:
    shutil.copy(project.images / "deep" / "3.png", project.images / "zz-copy.png")
    (project.images / "broken.jpg").write_text("no image")
    (project.images / "notes.txt").write_text("ignored")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 30)).save(project.images / "turned.jpg", exif=exif)
    outcome = catalog.run(project)
    records = read_catalog(project.catalog)
    assert len(records) == 11
    assert {r.path: (r.width, r.height) for r in records}["turned.jpg"] == (30, 40)
    third = next(r for r in records if r.path == "deep/3.png")
    assert list(read_rows(project.duplicates)) == [
        {"path": "zz-copy.png", "of": "deep/3.png", "id": third.id}
    ]
    assert [(r["path"], r["reason"]) for r in read_rows(project.quarantine)] == [
        ("broken.jpg", "not-an-image")
    ]
    assert outcome.did.endswith("1 duplicates, 1 quarantined")


def test_again_does_nothing_and_new_images_never_move_old_ones(project: Project) -> None:
    catalog.run(project)
    before = {r.id: r for r in read_catalog(project.catalog)}
    assert catalog.run(project).skipped
    Image.new("RGB", (99, 99)).save(project.images / "a-new-one.png")
    assert not catalog.run(project).skipped
    after = {r.id: r for r in read_catalog(project.catalog)}
    assert len(after) == 11
    assert {i: after[i] for i in before} == before


def test_the_id_is_of_the_content_not_of_the_name(project: Project) -> None:
    catalog.run(project)
    before = {r.id for r in read_catalog(project.catalog)}
    (project.images / "deep" / "3.png").rename(project.images / "renamed.png")
    catalog.run(project)
    assert {r.id for r in read_catalog(project.catalog)} == before


def test_groups_stay_together() -> None:
    rule = SplitRule(group="(video-\\d+)", validation=0.2, test=0.3)
    rows = [
        {"path": f"video-{g}/{n}.jpg", "id": f"{g}/{n}", "width": 1, "height": 1}
        for g in range(300)
        for n in range(3)
    ]
    records, _ = catalog._records(rows, rule)
    sides = {(r.group, r.split) for r in records}
    assert len(sides) == 300
    shares = Counter(split for _, split in sides)
    # Three standard deviations of a binomial of 300.
    assert abs(shares["test"] - 90) < 24
    assert abs(shares["validation"] - 60) < 21


def test_no_images_says_where(project: Project) -> None:
    shutil.rmtree(project.images)
    with pytest.raises(StageError) as error:
        catalog.run(project)
    assert error.value.problem.startswith(f"{project.images} holds no images (.avif .bmp ")


def test_other_files_and_linked_folders_are_told(project: Project) -> None:
    for name in ("a.jfif", "b.jpe", "c.MPO"):
        Image.new("RGB", (30, 20), {"a": "red", "b": "blue", "c": "white"}[name[0]]).save(
            project.images / name, "JPEG"
        )
    for name in ("scan.dcm", "scan2.DCM", "README", "x.tga"):
        (project.images / name).write_bytes(b"x")
    (project.images / ".hidden").write_bytes(b"x")
    elsewhere = project.folder / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (5, 5)).save(elsewhere / "x.png")
    (project.images / "linked").symlink_to(elsewhere)
    outcome = catalog.run(project)
    assert {r.path for r in read_catalog(project.catalog)} >= {"a.jfif", "b.jpe", "c.MPO"}
    assert outcome.did.startswith("13 images (")
    assert outcome.did.endswith(
        "); passed over 2 .dcm, 1 .tga, 1 linked folder, 1 without a suffix, 0 duplicates, 0 quarantined"
    )
    assert catalog.run(project).skipped
    (project.images / "scan3.dcm").write_bytes(b"x")
    assert "passed over 3 .dcm" in catalog.run(project).did


def test_only_other_files_are_told_too(project: Project) -> None:
    shutil.rmtree(project.images / "deep")
    (project.images / "scan.dcm").write_bytes(b"x")
    with pytest.raises(StageError, match=r"holds no images \(.*\); passed over 1 .dcm -> put"):
        catalog.run(project)


def test_names_that_are_not_utf_8_are_quarantined(project: Project) -> None:
    (project.images / os.fsdecode(b"\xff")).mkdir()
    for number, name in enumerate((b"caf\xe9.png", b"\xff/a.png")):
        shutil.copy(project.images / "deep" / f"{number}.png", project.images / os.fsdecode(name))
    (project.images / ("\N{CJK UNIFIED IDEOGRAPH-732B}" * 80 + ".png")).write_bytes(
        (project.images / "deep" / "2.png").read_bytes()
    )
    catalog.run(project)
    assert list(read_rows(project.quarantine)) == [
        {"path": path, "reason": "name-not-utf-8", "problem": f"{path}: its name is not UTF-8 -> rename it"}
        for path in ("\\xff/a.png", "caf\\xe9.png")
    ]
    assert len(read_catalog(project.catalog)) == 10
    assert len(list(read_rows(project.duplicates))) == 1
    assert "catalog      done" in status.describe(project)


def test_an_image_folder_may_hold_the_copies(tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text(TOML + '[images]\nfolder = "data"\n')
    (tmp_path / "data").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "data" / "a.tif")
    project = load_project(tmp_path)
    for _ in range(2):
        catalog.run(project, force=True)
        assert [r.path for r in read_catalog(project.catalog)] == ["a.tif"]


def test_what_browsers_do_not_show_is_copied_once(project: Project) -> None:
    Image.new("RGB", (30, 20), "red").save(project.images / "a.tif")
    Image.new("CMYK", (30, 20)).save(project.images / "b.jpg")
    shutil.copy(project.images / "a.tif", project.images / "z.tif")
    outcome = catalog.run(project)
    assert "); 2 shown as copies, 1 duplicates, 0 quarantined" in outcome.did
    records = {r.path: r for r in read_catalog(project.catalog)}
    assert [r.path for r in records.values() if r.png] == ["a.tif", "b.jpg"]
    copy = project.shown_path(records["a.tif"])
    assert copy == project.data / "copies" / f"{records['a.tif'].id}.png"
    with Image.open(copy) as image:
        assert (image.format, image.size, image.getpixel((0, 0))) == ("PNG", (30, 20), (255, 0, 0))
    assert project.shown_path(records["deep/0.png"]) == project.images / "deep" / "0.png"
    assert list(read_rows(project.copied)) == [
        {"path": "a.tif", "copy": records["a.tif"].png, "why": "no browser shows TIFF"},
        {"path": "b.jpg", "copy": records["b.jpg"].png, "why": "browsers differ on CMYK"},
    ]
    assert catalog.copied(project) == [
        "1 shown as copies: no browser shows TIFF",
        "1 shown as copies: browsers differ on CMYK",
    ]
    before = copy.stat().st_mtime_ns
    catalog.run(project, force=True)
    assert copy.stat().st_mtime_ns == before


def test_rows_of_usual_images_are_as_version_0_1_0_wrote_them(project: Project) -> None:
    catalog.run(project)
    (row, *_) = read_rows(project.catalog)
    assert list(row) == ["id", "path", "width", "height", "split", "group"]


def test_deep_gray_has_one_depth_in_a_folder(project: Project) -> None:
    for name, brightest in (("a.png", 4095), ("b.png", 4096)):
        values = np.full((8, 8), 2000, np.uint16)
        values[0, 0] = brightest
        Image.fromarray(values).save(project.images / name)
    outcome = catalog.run(project)
    assert "; 2 shown as copies, 2 gray of 14 bits (0 to 16383), 0 duplicates" in outcome.did
    records = {r.path: r for r in read_catalog(project.catalog)}
    shown = [decode.from_file(project.shown_path(records[name])) for name in ("a.png", "b.png")]
    assert (shown[0][1:] == shown[1][1:]).all()
    (project.folder / "project.toml").write_text(TOML + "[images]\ndepth = 12\n")
    said = load_project(project.folder)
    assert "2 gray of 12 bits (0 to 4095)" in catalog.run(said).did
    records = {r.path: r for r in read_catalog(project.catalog)}
    assert records["a.png"].png == f"{records['a.png'].id}-0-4095.png"
    assert decode.from_file(said.shown_path(records["b.png"]))[1, 1, 0] == round(2000 / 4095 * 255)


def test_more_than_the_memory_is_quarantined(project: Project) -> None:
    (project.folder / "project.toml").write_text(TOML + "[images]\nmemory = 0.001\n")
    Image.new("RGB", (1000, 1000)).save(project.images / "large.png")
    catalog.run(load_project(project.folder))
    path = project.images / "large.png"
    (row,) = read_rows(project.quarantine)
    assert row["problem"] == f"{path}: takes 0.0075 GB of memory to decode, more than 0.001 GB"


def test_a_link_that_leads_out_of_the_folder_is_no_image_of_it(tmp_path: Path) -> None:
    """Label Studio would not show it; one that stays within is a duplicate as any other."""
    project = draw_project(tmp_path, "detection", 2)
    outside = tmp_path / "outside.png"
    Image.new("RGB", (9, 9)).save(outside)
    (project.images / "out.png").symlink_to(outside)
    (project.images / "within.png").symlink_to("shapes-00.png")
    for _ in range(2):
        catalog.run(project, force=True)
        assert [row["path"] for row in read_rows(project.catalog)] == ["shapes-00.png", "shapes-01.png"]
        assert [row["path"] for row in read_rows(project.duplicates)] == ["within.png"]
        (row,) = catalog.quarantined(project)
        assert row == {
            "path": "out.png",
            "reason": "links-elsewhere",
            "problem": f"out.png links to {outside}, out of the image folder: put the file itself there",
        }


def test_measures_are_beside_the_catalog_one_line_an_image(project: Project) -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = project.images / "turned.jpg"
    Image.fromarray(np.tile(np.arange(0, 240, 6, dtype=np.uint8), (30, 1))).save(turned, exif=exif)
    shutil.copy(turned, project.images / "zz-copy.jpg")
    (project.images / "broken.jpg").write_text("no image")
    catalog.run(project)
    rows = list(read_rows(project.measures))
    assert [row["id"] for row in rows] == [r.id for r in read_catalog(project.catalog)]
    assert list(rows[-1]) == list(catalog.MEASURES)
    assert rows[-1]["sha256"] == sha256(turned.read_bytes()).hexdigest()
    # Upright, it gets brighter downwards, and no pixel is darker than the one to its right.
    assert (rows[-1]["orientation"], rows[-1]["dhash"]) == (6, "0" * 16)
    assert rows[-1]["brightness"] == pytest.approx(117, abs=1)


def test_what_an_earlier_version_measured_is_not_read_again_unless_forced(project: Project) -> None:
    catalog.run(project)
    before = project.catalog.read_bytes()
    cache = project.marks / "measured.jsonl"
    old = [
        {key: row[key] for key in ("stat", "limit", "path", "id", "width", "height")}
        for row in read_rows(cache)
    ]
    write_rows(cache, old)
    project.measures.unlink()
    assert catalog.run(project).skipped
    Image.new("RGB", (99, 99)).save(project.images / "new.png")
    assert catalog.run(project).did.endswith(", 0 quarantined, 10 without measures (take them: --force)")
    assert len(list(read_rows(project.measures))) == 1
    (project.images / "new.png").unlink()
    assert catalog.run(project, force=True).did.endswith(", 0 quarantined")
    assert len(list(read_rows(project.measures))) == 10
    assert project.catalog.read_bytes() == before


def test_only_what_changed_is_read(project: Project) -> None:
    (project.images / "link.png").symlink_to("deep/0.png")
    catalog.run(project)
    cache = project.marks / "measured.jsonl"
    lines = cache.read_bytes()
    (project.images / "deep" / "3.png").write_bytes((project.images / "deep" / "4.png").read_bytes())
    (project.images / "link.png").unlink()
    (project.images / "link.png").symlink_to("deep/5.png")
    catalog.run(project)
    content = cache.read_bytes()
    assert content.startswith(lines)
    more = [row["path"] for row in read_rows(cache)][lines.count(b"\n") :]
    assert more == ["deep/3.png", "link.png"]
    duplicates = {row["path"]: row["of"] for row in read_rows(project.duplicates)}
    assert duplicates == {"deep/4.png": "deep/3.png", "link.png": "deep/5.png"}


def test_a_catalog_that_was_stopped_goes_on_where_it_was(project: Project) -> None:
    catalog.run(project)
    whole = {path: path.read_bytes() for path in (project.catalog, project.measures)}
    cache = project.marks / "measured.jsonl"
    lines = cache.read_bytes().splitlines(keepends=True)
    cache.write_bytes(b"".join(lines[:4]) + lines[4][:20])
    (project.marks / "catalog.json").unlink()
    catalog.run(project)
    assert cache.read_bytes() == b"".join(lines)
    assert {path: path.read_bytes() for path in whole} == whole
