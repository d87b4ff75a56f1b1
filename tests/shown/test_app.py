"""The App's dataset on a real MongoDB: what FiftyOne itself reads, computes and survives."""

import multiprocessing
import os
import shutil
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests import scenes
from tests.crowds import crowd
from workflow import services
from workflow.errors import ServiceError
from workflow.features.store import Store
from workflow.metrics import measure
from workflow.metrics.detection import detection_metrics
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.services.mongod import fetch_mongod
from workflow.shapes import masks
from workflow.shown.app import dataset_url, publish
from workflow.shown.app.facts import Facts

pytestmark = pytest.mark.services

ANN = Provenance("person", "ann", at="2026-01-02T03:04:05Z")
DINO = Provenance("model", "dino", "r1")
CLASSES = ["cat", "dog"]
SCHEMA = Schema.of("detection", CLASSES)
DEAD = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=500"
ROOT = Path(__file__).parents[2]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    fetched = ROOT / ".workflow" / "bin" / "mongod"
    if fetched.is_file():
        (state / "bin").mkdir()
        (state / "bin" / "mongod").symlink_to(fetched)
    else:
        fetch_mongod(state)
    services.up(state, names=("mongod",), report=lambda _: None)
    yield services.fiftyone_environment(state)
    services.down(state, report=lambda _: None)


@pytest.fixture(scope="module")
def child(environment):
    """A process of its own, because one process speaks with one database for life."""
    with ProcessPoolExecutor(1, SPAWN) as pool:
        yield lambda function, *args: pool.submit(function, environment, *args).result(timeout=300)


def scene(count=6):
    """Rows, truths and two models: `base` misses and mislabels, `tuned` finds nearly everything."""
    rows = [
        ImageRecord(f"id{i}", f"images/{i}.jpg", 200, 100, "train" if i == 0 else "test")
        for i in range(count)
    ]
    truth, base, tuned = {}, {}, {}
    for i, row in enumerate(rows):
        if i == 1:
            continue
        cat, dog = (10.0 + i, 10.0, 50.0 + i, 40.0), (100.0, 20.0, 160.0, 90.0)
        truth[row.id] = [Annotation("cat", ANN, box=cat, id="r1"), Annotation("dog", ANN, box=dog)]
        base[row.id] = [Annotation("dog", DINO, box=cat, score=0.6)]
        tuned[row.id] = [
            Annotation("cat", DINO, box=cat, score=0.9),
            Annotation("dog", DINO, box=(100.0, 20.0, 155.0, 88.0), score=0.8),
            Annotation("cat", DINO, box=(0.0, 0.0, 9.0, 9.0), score=0.1),
        ]
    return rows, {"ground_truth": truth, "base": base, "tuned": tuned}


FACTS = Facts(
    {"id2": {"group": "a", "folder": "images", "brightness": 12.5, "blur": 3.0}, "id3": {"folder": "images"}},
    {"id2": {"r1": "moved", "gone": "deleted"}},
)


def put(environment, name, digest, count=6, **options):
    rows, fields = scene(count)
    return publish(name, rows, fields, SCHEMA, environment, digest, facts=FACTS, **options)


def read(environment, name):
    """What FiftyOne itself says about a dataset."""
    import fiftyone as fo

    dataset = fo.load_dataset(name, reload=True)
    results = dataset.load_evaluation_results("eval_tuned")
    samples = {s.image_id: s.to_dict() for s in dataset.iter_samples()}
    return {
        "names": fo.list_datasets(),
        "persistent": dataset.persistent,
        "runs": dataset.list_evaluations(),
        "views": dataset.list_saved_views(),
        "workspaces": dataset.list_workspaces(),
        "worst": [s.image_id for s in dataset.load_saved_view("worst base")],
        "view": dataset.load_evaluation_view("eval_tuned").values("image_id"),
        "patches": len(dataset.to_evaluation_patches("eval_tuned")),
        "mAP": results.mAP(),
        "metrics": results.metrics(),
        "classes": dataset.default_classes,
        "samples": samples,
        "maker": dataset.count_values("tuned.detections.maker"),
        "sizes": dataset.distinct("metadata.width"),
        "tags": dataset.count_sample_tags(),
        "media": dataset.media_type,
        "groups": [(group.name, group.expanded) for group in dataset.app_config.sidebar_groups][:2],
        "indexes": sorted(dataset.list_indexes()),
    }


def own_evaluation(environment, name):
    """How many marks FiftyOne's own slow evaluation sets otherwise than we did, and the two mAPs.

    Across classes it also computes average precision across classes, which is nobody's.
    """
    import fiftyone as fo

    dataset = fo.load_dataset(name, reload=True)
    dataset.evaluate_detections("tuned", "ground_truth", eval_key="theirs", classwise=False)
    within = dataset.evaluate_detections("tuned", "ground_truth", classes=CLASSES, compute_mAP=True)
    differing = 0
    for sample in dataset.iter_samples():
        for field in ("tuned", "ground_truth"):
            for d in sample[field].detections:
                for key in ("", "_id"):
                    differing += d[f"eval_tuned{key}"] != d[f"theirs{key}"]
        differing += any(sample[f"eval_tuned_{k}"] != sample[f"theirs_{k}"] for k in ("tp", "fp", "fn"))
    return differing, dataset.load_evaluation_results("eval_tuned").mAP(), within.mAP()


def test_publish_once_and_again(child, tmp_path):
    assert child(put, "birds & bees", "one") is True
    assert child(put, "birds & bees", "one") is False
    got = child(read, "birds & bees")
    rows, fields = scene()
    sizes = {row.id: (row.width, row.height) for row in rows}
    expected = detection_metrics(SCHEMA, sizes, fields["ground_truth"], fields["tuned"])
    assert got["mAP"] == pytest.approx(expected.map50_95, abs=1e-12)
    assert got["metrics"]["map50"] == pytest.approx(expected.map50, abs=1e-12)
    # what scores below the best F1's 0.8, a false box on each of 5 images, counts in mAP alone
    assert (got["metrics"]["precision"], got["metrics"]["recall"]) == (1.0, 1.0)
    assert got["runs"] == ["eval_base", "eval_tuned"]
    assert got["views"] == [
        "evaluated",
        *("worst base", "false positives base", "missed base", "base cat taken for dog"),
        *("worst tuned", "false positives tuned", "missed tuned", "truth in doubt tuned"),
        *("improved tuned", "worsened tuned", "models differ"),
    ]
    assert (got["persistent"], got["classes"], got["media"]) == (True, CLASSES, "image")
    assert got["workspaces"] == ["evaluation"]
    assert got["tags"] == {"train": 1, "test": 5, "evaluated": 6}
    assert got["maker"] == {"dino": 10}
    assert got["sizes"] == [200]
    assert got["groups"] == [("labels", True), ("tags", False)]
    # every image with truths has a mislabelled cat and a missed dog; image 1 is empty and right
    assert sorted(got["worst"]) == ["id0", "id2", "id3", "id4", "id5"]
    assert got["patches"] == 5 * 2
    assert "filepath" in got["indexes"]
    box = got["samples"]["id2"]["ground_truth"]["detections"][0]
    assert box["bounding_box"] == [12 / 200, 0.1, 0.2, 0.3]
    assert (box["region"], box["made_by"], box["maker"]) == ("r1", "person", "ann")
    assert got["samples"]["id1"]["tuned"]["detections"] == []
    two, dog = got["samples"]["id2"], got["samples"]["id2"]["ground_truth"]["detections"][1]
    assert (two["base_errors"], two["tuned_errors"], two["tuned_gained"], two["model_differences"]) == (
        2,
        0,
        2,
        2,
    )
    assert [two[name] for name in ("group", "folder", "brightness", "blur")] == ["a", "images", 12.5, 3.0]
    assert (box["people"], dog.get("people")) == ("moved", None)
    # a cat that base took for a dog, and a dog that it did not find
    said = two["base"]["detections"][0]
    marks = ("eval_base", "eval_base_error", "eval_base_other", "eval_base_iou")
    assert [said[mark] for mark in marks] == ["fp", "wrong class", "cat", 1.0]
    assert [box[mark] for mark in marks] == ["fn", "wrong class", "dog", 1.0]
    assert [dog.get(mark) for mark in marks] == ["fn", "missed", None, None]
    assert (two["base_against_truth"], two.get("tuned_against_truth")) == (0.6, None)
    # the cat has an AP of 1, the dog .8: its IoU is 55 x 68 / 60 x 70, as much as 8 of COCO's ten ask for
    assert (two["base_ap"], two["tuned_ap"]) == (0.0, pytest.approx((1.0 + 0.8) / 2))
    assert got["samples"]["id1"].get("tuned_ap") is None


def test_fiftyones_own_evaluation_agrees(child):
    child(put, "agrees", "one")
    differing, ours, theirs = child(own_evaluation, "agrees")
    assert differing == 0
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_a_new_digest_rebuilds_under_the_same_name(child):
    child(put, "rebuilt", "one")
    assert child(put, "rebuilt", "two", 9) is True
    got = child(read, "rebuilt")
    assert len(got["samples"]) == 9
    assert [name for name in got["names"] if name.startswith("rebuilt")] == ["rebuilt"]


def evaluated_only(environment):
    rows, fields = scene()
    publish("part", rows, fields, SCHEMA, environment, "one", evaluated={"id2", "id3"})
    got = read(environment, "part")
    return got["view"], got["tags"], got["samples"]["id0"].get("eval_tuned_tp")


def likened(environment, folder):
    """The same twice, of vectors of which two are nearly one; the second time nothing is computed."""
    import numpy as np

    store = Store(folder)
    store.begin("drawn", "1")
    vectors = np.eye(6, 8)
    vectors[3] = vectors[2] + 0.05 * vectors[4]
    ids = [f"id{n}" for n in range(6)]
    store.append(ids[::-1], vectors[::-1] / np.linalg.norm(vectors, axis=1, keepdims=True)[::-1])
    got = []
    for digest in ("one", "two"):
        put(environment, "likened", digest, stores=[Store(folder)])
        import fiftyone as fo

        dataset = fo.load_dataset("likened", reload=True)
        near = dict(zip(dataset.values("image_id"), dataset.values("near_duplicate_of"), strict=True))
        first = dataset.match(fo.ViewField("image_id") == "id2").first()
        alike = dataset.sort_by_similarity(first.id, k=2, brain_key=f"similar_{folder.name}")
        views = [name for name in dataset.list_saved_views() if len(dataset.load_saved_view(name))]
        # The run that computed them is there only the first time.
        runs = [run for run in dataset.list_brain_runs() if run != "uniqueness"]
        unique = dataset.values("uniqueness")
        kept = (folder / "found.json").stat().st_mtime_ns
        got.append((runs, near, alike.values("image_id"), unique, views[-2:], kept))
    return got


def test_vectors_tell_what_is_alike(child, tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()
    first, second = child(likened, folder)
    assert first == second
    runs, near, alike, unique, views, _ = first
    assert runs == ["map_drawn", "similar_drawn"]
    pair = {image: other for image, other in near.items() if other}
    assert pair in ({"id3": "id2"}, {"id2": "id3"})
    assert alike == ["id2", "id3"]
    assert sum(u == max(unique) for u in unique) < 6 and all(0 <= u <= 1 for u in unique)
    assert views == ["near duplicates", "most unlike others"]


def test_only_the_evaluated_images_count(child):
    assert child(evaluated_only) == (["id2", "id3"], {"train": 1, "test": 5, "evaluated": 2}, None)


def refused(environment):
    """Messages of what publish refuses, and what is left in the database."""
    import fiftyone as fo

    rows, fields = scene()
    fo.Dataset("A b", persistent=True)
    messages = []
    for name, uri in (("a-B", None), ("x", "mongodb://127.0.0.1:1")):
        try:
            there = environment | ({"FIFTYONE_DATABASE_URI": uri} if uri else {})
            publish(name, rows, fields, SCHEMA, there, "one")
        except ServiceError as error:
            messages.append(str(error))
    return messages, [name for name in fo.list_datasets() if "--" in name]


def test_refusals_leave_nothing_behind(child, environment):
    messages, left = child(refused)
    uri = environment["FIFTYONE_DATABASE_URI"]
    assert messages == [
        "FiftyOne has a dataset 'A b', whose address is that of 'a-B'"
        " -> rename the project, or delete that dataset",
        f"fiftyone already speaks with {uri}, not with mongodb://127.0.0.1:1",
    ]
    assert left == []


def unreachable():
    """The message for a database that does not answer, from a process that met no other."""
    try:
        publish(
            "x",
            [],
            {"ground_truth": {}},
            SCHEMA,
            {"FIFTYONE_DATABASE_URI": DEAD},
            "one",
        )
    except ServiceError as error:
        return str(error)


def test_a_database_that_does_not_answer():
    with ProcessPoolExecutor(1, SPAWN) as pool:
        message = pool.submit(unreachable).result(timeout=120)
    assert message == "FiftyOne's database failed: Could not connect to `mongod` -> make up"


def names_now(environment):
    import fiftyone as fo

    return fo.list_datasets()


def test_a_killed_build_leaves_the_old_dataset_and_the_next_sweeps_up(child, environment):
    child(put, "killed", "one")
    victim = SPAWN.Process(target=put, args=(environment, "killed", "two", 4000))
    victim.start()
    deadline = time.monotonic() + 120
    while not any(name.startswith("killed--building") for name in child(names_now)):
        assert time.monotonic() < deadline
        assert victim.is_alive()
        time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert len(child(read, "killed")["samples"]) == 6
    assert any(name.startswith("killed--building") for name in child(names_now))
    assert child(put, "killed", "one") is False
    assert not any(name.startswith("killed--") for name in child(names_now))


def quiet(environment, out):
    with out.open("w") as file:
        os.dup2(file.fileno(), 1)
        put(environment, "quiet", "one")


def test_nothing_is_printed(environment, tmp_path):
    process = SPAWN.Process(target=quiet, args=(environment, tmp_path / "out"))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert (tmp_path / "out").read_text() == ""


def nothing_there(environment):
    rows, fields = scene(2)
    empty = {field: {} for field in fields}
    publish(
        "empty",
        [replace(row, path=f"/there/{row.path}") for row in rows],
        empty,
        SCHEMA,
        environment,
        "1",
    )
    publish("no images", [], {"ground_truth": {}}, SCHEMA, environment, "1")
    import fiftyone as fo

    return fo.load_dataset("empty").values("filepath"), len(fo.load_dataset("no images"))


def test_no_boxes_and_no_images(child):
    assert child(nothing_there) == (["/there/images/0.jpg", "/there/images/1.jpg"], 0)


OPEN = "workspace=evaluation&view=evaluated"


def test_dataset_url():
    url = dataset_url("http://127.0.0.1:5151/", "birds & bees/1")
    assert url == f"http://127.0.0.1:5151/datasets/birds%20%26%20bees%2F1?{OPEN}"
    assert dataset_url("http://h", "a", None, "worst-base") == "http://h/datasets/a?view=worst-base"
    assert dataset_url("http://h", "a", None, None) == "http://h/datasets/a"


def put_scene(environment, task, folder):
    """A drawn scene of a task in the App, with its pictures on disk; the last image is not evaluated."""
    drawn = scenes.scene(task)
    folder.mkdir(exist_ok=True)
    for name, picture in drawn.images.items():
        picture.save(folder / f"{name}.png")
    rows = [ImageRecord(name, f"{name}.png", *scenes.SIZE, "test") for name in drawn.images]
    fields = {"ground_truth": drawn.truth, "base": drawn.base, "tuned": drawn.tuned}
    options = {"root": folder, "masks": folder / "masks"}
    options["evaluated"] = [row.id for row in rows[:-1]]
    return publish(
        task, rows, fields, Schema.of(task, drawn.classes, drawn.keypoints), environment, "one", **options
    )


OWN = {
    "classification": ("evaluate_classifications", {}),
    "detection": ("evaluate_detections", {"classwise": False}),
    "oriented-detection": ("evaluate_detections", {"classwise": False}),
    "keypoints": ("evaluate_detections", {"classwise": False}),
    "instance-segmentation": ("evaluate_detections", {"classwise": False, "use_masks": True}),
    "semantic-segmentation": ("evaluate_segmentations", {}),
}


def read_scene(environment, task):
    """What FiftyOne reads of a scene, and what its own evaluation of the shown labels finds otherwise."""
    import fiftyone as fo

    dataset = fo.load_dataset(task, reload=True)
    view = dataset.match_tags("evaluated")
    ours = dataset.load_evaluation_results("eval_tuned")
    got = {
        "types": {f: dataset.get_field(f).document_type.__name__ for f in ("ground_truth", "tuned")},
        "metrics": ours.metrics() | ({"mAP": ours.mAP()} if hasattr(ours, "mAP") else {}),
        "confusion": ours.confusion_matrix(classes=list(scenes.CLASSES), include_missing=True).tolist(),
        "worst": [s.image_id for s in dataset.load_saved_view("worst base")],
        "view": len(dataset.load_evaluation_view("eval_tuned")),
        "first": dataset.first().to_dict(),
    }
    if task in OWN:
        method, options = OWN[task]
        if method == "evaluate_segmentations":
            options = options | {"mask_targets": dataset.default_mask_targets}
        else:
            options = options | {"classes": list(scenes.CLASSES)}
        theirs = getattr(view, method)("tuned", "ground_truth", eval_key="theirs", **options)
        got["own"] = theirs.metrics()
        names = [n for n in dataset.get_field_schema() if n.startswith("theirs")]
        got["fields"] = names
        got["differing"] = sum(
            view.values(name) != view.values(name.replace("theirs", "eval_tuned")) for name in names
        )
    return got


TYPES = {
    "classification": "Classification",
    "multilabel-classification": "Classifications",
    "oriented-detection": "Polylines",
    "semantic-segmentation": "Segmentation",
}


@pytest.mark.parametrize("task", [*OWN, "multilabel-classification"])
def test_every_task_as_fiftyone_itself_has_it(child, tmp_path, task):
    assert child(put_scene, task, tmp_path / "images") is True
    assert child(put_scene, task, tmp_path / "images") is False
    got = child(read_scene, task)
    drawn = scenes.scene(task)
    schema = Schema.of(task, drawn.classes, drawn.keypoints)
    sizes = dict(list(drawn.sizes.items())[:-1])
    kept = [{i: side[i] for i in sizes} for side in (drawn.truth, drawn.tuned)]
    numbers = measure(schema, sizes, *kept)
    assert got["types"] == dict.fromkeys(("ground_truth", "tuned"), TYPES.get(task, "Detections"))
    assert got["view"] == 7
    if task == "multilabel-classification":
        # what it counts as right and wrong are single labels, 13 of 15
        assert got["metrics"]["accuracy"] == pytest.approx(13 / 15)
        assert got["metrics"]["fscore"] == pytest.approx(numbers.f1)
    else:
        for line in numbers.headlines:
            if line.key in got["metrics"]:
                assert got["metrics"][line.key] == pytest.approx(line.value, abs=1e-12)
        assert any(numbers.score == pytest.approx(v, abs=1e-12) for v in got["metrics"].values() if v)
    if task in OWN:
        assert {k: v for k, v in got["metrics"].items() if k in got["own"]} == pytest.approx(got["own"])
        assert got["fields"]
        assert got["differing"] == 0
    if task != "semantic-segmentation":
        assert got["confusion"] == [list(row) for row in numbers.confusion]
    before = measure(
        Schema.of(task, drawn.classes, drawn.keypoints), sizes, kept[0], {i: drawn.base[i] for i in sizes}
    )
    weights = {i: before.errors(kept[0][i], drawn.base[i]).weight for i in sizes}
    assert sorted(got["worst"]) == [i for i in sizes if weights[i]]
    worst = [weights[i] for i in got["worst"]]
    assert worst == sorted(worst, reverse=True)


def test_what_is_painted_lies_in_files_that_a_rebuild_replaces(child, tmp_path):
    import numpy as np
    from PIL import Image

    child(put_scene, "semantic-segmentation", tmp_path)
    (built,) = (tmp_path / "masks").iterdir()
    drawn = scenes.scene("semantic-segmentation")
    with Image.open(built / "tuned" / "image-00.png") as png:
        values, counts = np.unique(np.asarray(png), return_counts=True)
    assert child(put_scene, "semantic-segmentation", tmp_path) is False
    shutil.rmtree(built)
    assert child(put_scene, "semantic-segmentation", tmp_path) is True
    (again,) = (tmp_path / "masks").iterdir()
    assert again != built
    areas = {drawn.classes.index(a.label) + 1: masks.area(a.mask) for a in drawn.tuned["image-00"]}
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == areas | {
        0: 320 * 240 - sum(areas.values())
    }


MARKS = ("", "_id", "_iou")


def random_evaluation(environment, seed):
    """What FiftyOne's own evaluation of many random boxes finds otherwise than ours, field by field."""
    import numpy as np

    # FiftyOne takes what has no score for the least certain, and rounds its fractions: equals fall otherwise.
    drawn = crowd(seed, images=40, unscored=False)
    rows = [ImageRecord(name, f"{name}.png", *size, "test") for name, size in drawn.sizes.items()]
    fields = {"ground_truth": drawn.truth, "tuned": drawn.predicted}
    publish("crowd", rows, fields, Schema.of("detection", drawn.classes), environment, str(seed))
    import fiftyone as fo

    dataset = fo.load_dataset("crowd", reload=True)
    theirs = dataset.evaluate_detections(
        "tuned", "ground_truth", eval_key="theirs", classes=drawn.classes, classwise=False
    )
    ours = dataset.load_evaluation_results("eval_tuned")
    # An object's marks, its partner's id among them; where it has none, theirs say no IoU and ours null.
    objects = [
        (sample.image_id, field, d.to_dict())
        for sample in dataset.iter_samples()
        for field in ("tuned", "ground_truth")
        for d in sample[field].detections
    ]
    differing = [
        (image, field, mark)
        for image, field, d in objects
        for mark in MARKS
        if d.get(f"eval_tuned{mark}") != pytest.approx(d.get(f"theirs{mark}"), abs=1e-12)
    ]
    for count in ("tp", "fp", "fn"):
        one, other = (dataset.values(f"{key}_{count}") for key in ("eval_tuned", "theirs"))
        differing += [count] * (one != other)

    def pairs(results):
        names = ("ytrue", "ypred", "confs", "ytrue_ids", "ypred_ids")
        return sorted(zip(*(getattr(results, name).tolist() for name in names), strict=True), key=str)

    schema = dataset.get_field_schema(flat=True)
    kinds = {path: type(field).__name__ for path, field in schema.items()}
    own = {path.replace("theirs", "eval_tuned"): kind for path, kind in kinds.items() if "theirs" in path}
    return {
        "differing": differing,
        "objects": len(pairs(ours)),
        "pairs": pairs(ours) == pairs(theirs),
        "report": ours.report() == theirs.report(),
        "confusion": np.array_equal(ours.confusion_matrix(), theirs.confusion_matrix()),
        "metrics": {k: v for k, v in ours.metrics().items() if k in theirs.metrics()} == theirs.metrics(),
        "schema": {path: kind for path, kind in own.items() if kinds.get(path) != kind},
        "marked": len(own),
    }


@pytest.mark.parametrize("seed", [1, 2, 4, 8])
def test_every_mark_of_many_random_boxes_is_fiftyones_own(child, seed):
    got = child(random_evaluation, seed)
    assert got["objects"] > 40
    assert got["marked"] >= 9
    expected = {
        "differing": [],
        "pairs": True,
        "report": True,
        "confusion": True,
        "metrics": True,
        "schema": {},
    }
    assert {key: got[key] for key in expected} == expected


def stock_document(environment):
    """Keys and types of a sample that FiftyOne adds itself, and of ours in the same dataset."""
    put(environment, "stock", "one")
    import fiftyone as fo

    dataset = fo.load_dataset("stock", reload=True)
    box = fo.Detection(label="cat", bounding_box=[0.1, 0.1, 0.2, 0.2], confidence=0.5)
    sample = fo.Sample(filepath="/there/new.jpg", tuned=fo.Detections(detections=[box]))
    dataset.add_sample(sample)
    table = dataset._sample_collection
    ours, theirs = table.find_one({"image_id": "id2"}), table.find_one({"filepath": "/there/new.jpg"})

    def kinds(document):
        return {key: type(value).__name__ for key, value in document.items()}

    pairs = [(ours, theirs), (ours["tuned"], theirs["tuned"])]
    pairs.append((ours["tuned"]["detections"][0], theirs["tuned"]["detections"][0]))
    known = [{k: (kinds(one).get(k), v) for k, v in kinds(other).items()} for one, other in pairs]
    fields = [s.get(f) or {"detections": []} for s in table.find() for f in ("ground_truth", "tuned")]
    ids = [d["_id"] for field in fields for d in field["detections"]]
    return known, len(ids), len(set(ids)), len(dataset.match(fo.ViewField("tuned.detections").length() > 1))


def test_documents_are_as_fiftyone_writes_them(child):
    known, ids, different, view = child(stock_document)
    for keys in known:
        # what nobody has filled in, such as the fields of an evaluation, is null in theirs
        assert {k: pair for k, pair in keys.items() if pair[0] != pair[1] and pair[1] != "NoneType"} == {}
    assert {"_id", "filepath", "_rand", "_media_type", "_dataset_id", "created_at"} <= known[0].keys()
    assert (ids, different, view) == (5 * 2 + 5 * 2 + 1, 21, 5)
