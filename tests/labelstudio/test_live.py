"""The ML backend over real HTTP, with tiny random models: who may ask, what is answered, and when."""

from __future__ import annotations

import json
import re
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests import tiny
from tests.samples import CLASSES, HEIGHT, WIDTH, draw_project
from workflow import models
from workflow.commands import serve
from workflow.errors import ModelError, ServiceError, StageError
from workflow.images import decode
from workflow.labels.blind import blindness
from workflow.labelstudio import regions
from workflow.labelstudio.interface import Interface, read_interface
from workflow.labelstudio.live import credentials as keys
from workflow.labelstudio.live import prompted as prompting
from workflow.labelstudio.live.guard import SECRET
from workflow.labelstudio.live.predictor import KEPT, Predictor
from workflow.labelstudio.live.prompted import Prompt, read_prompt
from workflow.labelstudio.live.soon import Soon
from workflow.labelstudio.project_interface import interface_of
from workflow.labelstudio.push.prediction import as_prediction
from workflow.models import Options
from workflow.models.sam import Sam
from workflow.project.paths import Project
from workflow.project.rows import read_catalog, read_samples
from workflow.records import ImageRecord, Provenance
from workflow.schema import Schema
from workflow.services import state_folder
from workflow.shapes import masks
from workflow.stages import catalog, preannotate
from workflow.tasks import TASKS

Json = dict[str, Any]
SEGMENTS = "mask2former:tiny/mask2former-digits-instance"
CLASS_MAP = 'class_map = { "0" = "disk", "1" = "bar", "2" = "tile" }'
GUESSING = f'[preannotate]\nmodel = "{SEGMENTS}"\nthreshold = 0.0\n{CLASS_MAP}\n'
SPLIT = "[split]\nvalidation = 0\ntest = 0.3\n"


def make(root: Path, more: str = "") -> Project:
    """Shapes to segment, two tiny models beside them, everything catalogued."""
    project = draw_project(root, "instance-segmentation", 10, SPLIT + GUESSING + more)
    for name in ("mask2former-digits-instance", "sam2"):
        tiny.build(name, project.folder / "tiny" / name)
    catalog.run(project)
    return project


class Asking:
    """A backend that runs, and Label Studio's requests to it."""

    def __init__(self, project: Project, url: str, said: list[str]) -> None:
        self.project, self.said = project, said
        known = keys.credentials(state_folder(project.workspace))
        self.http = httpx.Client(base_url=url, auth=(known.user, known.password), timeout=60)
        self.bare = httpx.Client(base_url=url, timeout=10)
        self.records = {r.id: r for r in read_catalog(project.catalog)}

    def predict(self, *images: str, context: Any = None, predictions: Sequence[Json] = ()) -> list[Any]:
        tasks = [
            {"id": number, "data": {"image_id": image}, "predictions": list(predictions)}
            for number, image in enumerate(images, 1)
        ]
        answer = self.http.post("/predict", json={"tasks": tasks, "params": {"context": context}})
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def until_loaded(self) -> str:
        end = time.monotonic() + 60
        while not (version := self.http.post("/setup", json={}).json()["model_version"]):
            assert time.monotonic() < end
            time.sleep(0.05)
        return version


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    project = make(tmp_path_factory.mktemp("backend"))
    said: list[str] = []
    with serve.serving(project, serve.Wishes(interactive="sam:tiny/sam2"), None, said.append) as url:
        yield Asking(project, url, said)


def click(x: float, y: float, label: str = "disk", positive: bool = True) -> Json:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]}
    return {"id": "k", "type": "keypointlabels", "is_positive": positive, "value": value}


def frame(x: float, y: float, width: float, height: float, label: str = "bar") -> Json:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    return {"id": "f", "type": "rectanglelabels", "value": value}


PATHS = ["/setup", "/predict", "/webhook", "/versions", "/elsewhere", "/docs", "/openapi.json"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_the_password(asking: Asking, path: str) -> None:
    known = keys.credentials(state_folder(asking.project.workspace))
    wrong = [None, (known.user, "x"), ("x", known.password), (known.user, known.password + "x"), ("", "")]
    for auth in wrong:
        for method in ("GET", "POST"):
            answer = asking.bare.request(method, path, auth=auth, json={})
            assert (answer.status_code, answer.json()) == (401, {"error": "user or password is wrong"})
    for header in ("Basic", "Basic %%%", "Bearer abc", "Basic " + "QQ=="):
        assert asking.bare.post(path, headers={"Authorization": header}, json={}).status_code == 401


def test_health_is_open_and_the_secret_opens_the_webhook_alone(asking: Asking) -> None:
    assert asking.bare.get("/health").json() == {"status": "UP"}
    known = keys.credentials(state_folder(asking.project.workspace))
    said = {path: asking.bare.post(path, headers={SECRET: known.secret}, json={}) for path in PATHS}
    assert {path: answer.status_code for path, answer in said.items()} == {
        path: 200 if path == "/webhook" else 401 for path in PATHS
    }
    assert asking.bare.post("/webhook", headers={SECRET: known.secret + "x"}, json={}).status_code == 401
    assert said["/webhook"].json() == {"status": "noted"}


def test_credentials_are_made_once_and_shown_to_nobody(tmp_path: Path) -> None:
    made = keys.credentials(tmp_path / "state")
    path = keys.credentials_path(tmp_path / "state")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    assert keys.credentials(tmp_path / "state") == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert made.password not in repr(made) and made.secret not in repr(made)
    assert len({made.password, made.secret, keys.credentials(tmp_path / "other").password}) == 3
    path.write_text('{"user": "workflow"}')
    with pytest.raises(ServiceError, match=re.escape(f"{path} cannot be read")):
        keys.credentials(tmp_path / "state")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("{", 422, "1: JSON decode error"),
        ("[]", 422, "body: Input should be a valid dictionary or object to extract fields from"),
        ("{}", 422, "tasks: Field required"),
        ('{"tasks": [{"id": "x"}]}', 422, "tasks.0.id: Input should be a valid integer, unable to parse"),
        (
            '{"tasks": [], "params": {"context": 3}}',
            422,
            "params.context: Input should be",
        ),
    ],
)
def test_what_is_malformed_is_refused_in_one_line(asking: Asking, body: str, status: int, error: str) -> None:
    answer = asking.http.post("/predict", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].startswith(error)
    assert "\n" not in answer.text


def test_what_is_not_there_is_said_in_one_line(asking: Asking) -> None:
    answer = asking.http.get("/elsewhere")
    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found"})


def test_no_body_is_read_beyond_the_limit(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    large = b" " * 64_000_001
    answer = asking.http.post("/predict", content=large)
    assert (answer.status_code, answer.json()) == (413, {"error": "more than 64000000 bytes in one request"})
    # Of a length that nobody announced.
    answer = asking.http.post("/predict", content=(b" " * 1_000_000 for _ in range(65)))
    assert answer.status_code == 400


def test_guesses_are_those_that_push_would_show(asking: Asking) -> None:
    version = asking.until_loaded()
    project, records = asking.project, asking.records
    blind = [i for i, r in records.items() if blindness(r, project.settings.push)]
    seen = [i for i in records if i not in blind]
    assert blind and seen
    made = dict(zip(records, asking.predict(*records), strict=True))
    preannotate.run(project)
    samples = read_samples(preannotate.predictions_path(project))
    expected = {}
    for image in seen:
        interface = interface_of(project)
        row = as_prediction(samples[image], records[image], project.settings, interface, pytest.fail)
        assert row["version"] == version
        expected[image] = {"result": row["result"], "score": row["score"], "model_version": version}
    assert sum(len(said["result"]) for said in expected.values()) > 20
    assert made == expected | {image: [] for image in blind}
    # What is there already, of this version, is not said twice; of another's it is.
    assert asking.predict(seen[0], predictions=[{"model_version": version}]) == [[]]
    assert asking.predict(seen[0], predictions=[{"model_version": "other@1"}]) == [expected[seen[0]]]
    assert asking.predict("unknown", seen[0]) == [[], expected[seen[0]]]
    assert asking.http.get("/versions").json() == {"versions": [version]}
    # Another process answers from the file, and never looks at an image.
    for image in project.images.iterdir():
        image.rename(image.with_suffix(".away"))
    try:
        with serve.serving(project, serve.Wishes(interactive="sam:tiny/sam2"), None, pytest.fail) as url:
            other = Asking(project, url, [])
            assert other.until_loaded() == version
            assert dict(zip(records, other.predict(*records), strict=True)) == made
    finally:
        for image in project.images.iterdir():
            image.rename(image.with_suffix(".png"))


def drawn(result: Json) -> np.ndarray:
    """The mask of a brush region, by our reader."""
    me = Provenance("person", "me")
    controls = regions.controls(TASKS["instance-segmentation"])
    (found,) = regions.from_result([result], WIDTH, HEIGHT, me, controls=controls).annotations
    assert found.mask is not None
    return masks.decode(found.mask)


@pytest.fixture(scope="module")
def sam(asking: Asking) -> Sam:
    found = models.load("sam:tiny/sam2", asking.project.folder, Options(device="cpu"))
    assert isinstance(found, Sam)
    return found


@pytest.mark.parametrize(
    ("context", "points", "positive", "box", "label"),
    [
        ([click(25, 50)], [(24, 36)], [True], None, "disk"),
        ([click(25, 50), click(75, 25, "tile")], [(24, 36), (72, 18)], [True, True], None, "tile"),
        ([click(25, 50), click(75, 50, positive=False)], [(24, 36), (72, 36)], [True, False], None, "disk"),
        ([frame(25, 25, 50, 50)], [], [], (24, 18, 72, 54), "bar"),
        ([frame(-10, 25, 50, 90)], [], [], (0, 18, 38.4, 72), "bar"),
        ([frame(25, 25, 50, 50), click(50, 50, "bar", False)], [(48, 36)], [False], (24, 18, 72, 54), "bar"),
    ],
)
def test_a_click_is_answered_with_its_mask(
    asking: Asking, sam: Sam, context: list[Json], points: Any, positive: Any, box: Any, label: str
) -> None:
    for record in list(asking.records.values())[:2]:
        (said,) = asking.predict(record.id, context={"result": context})
        pixels = decode.from_file(asking.project.image_path(record.path))
        bits = sam.mask(sam.embed(pixels), points, positive, box)
        assert said["model_version"] == f"sam:tiny/sam2@{sam.revision[:8]}"
        (region,) = said["result"]
        size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
        own = {"type": "brushlabels", "from_name": "label", "to_name": "image"}
        assert region | {"id": "", "value": ""} == size | own | {"id": "", "value": ""}
        assert region["value"]["brushlabels"] == [label]
        assert bits.any() and np.array_equal(drawn(region), bits)


@pytest.mark.parametrize(
    ("context", "status", "error"),
    [
        ([{"type": "brushlabels", "value": {}}], 422, "a prompt of type 'brushlabels', which is none of"),
        ([click(25, 50) | {"value": None}], 422, "a prompt of type 'keypointlabels'"),
        ([click("x", 50)], 422, "a prompt whose x is 'x'"),  # type: ignore[arg-type]
        (["x"], 422, "context.result is no list of regions"),
        ("x", 422, "context.result is no list of regions"),
    ],
)
def test_what_is_no_prompt_is_refused(asking: Asking, context: Any, status: int, error: str) -> None:
    task = {"id": 1, "data": {"image_id": next(iter(asking.records))}}
    answer = asking.http.post("/predict", json={"tasks": [task], "params": {"context": {"result": context}}})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(error)


def test_a_click_on_an_image_nobody_knows_is_refused(asking: Asking) -> None:
    task = {"id": 1, "data": {"image_id": "../../etc/passwd", "image": "http://127.0.0.1:1/x.png"}}
    context = {"result": [click(1, 1)]}
    answer = asking.http.post("/predict", json={"tasks": [task], "params": {"context": context}})
    error = "the image is not in the catalog -> workflow catalog, then workflow push"
    assert (answer.status_code, answer.json()) == (404, {"error": error})


@pytest.mark.parametrize(
    ("result", "prompt"),
    [
        ([], None),
        ([click(10, 20, positive=False)], None),
        ([frame(10, 10, 0, 30)], None),
        ([click(10, 20) | {"value": {"x": 10, "y": 20, "keypointlabels": []}}], None),
        ([click(120, -5)], Prompt("disk", ((200.0, 0.0),), (True,))),
        ([frame(0, 0, 10, 10), frame(50, 50, 10, 10, "x")], Prompt("x", box=(100.0, 50.0, 120.0, 60.0))),
    ],
)
def test_what_regions_mean(result: list[Json], prompt: Prompt | None) -> None:
    assert read_prompt(result, 200, 100) == prompt


def test_outlines_are_drawn_where_outlines_are_labeled(asking: Asking, sam: Sam) -> None:
    record = next(iter(asking.records.values()))
    controls = regions.controls(TASKS["instance-segmentation"], "polygon")
    pixels = decode.from_file(asking.project.image_path(record.path))
    backend = prompting.Prompted(lambda: sam, lambda r: pixels, Interface("", controls), pytest.fail)
    result = backend.answer(record, [click(25, 50)])["result"]
    assert {region["type"] for region in result} == {"polygonlabels"}
    me = Provenance("person", "me")
    (found,) = regions.from_result(result, WIDTH, HEIGHT, me, controls=controls).annotations
    bits = sam.mask(sam.embed(pixels), [(24, 36)], [True])
    outlines, _ = masks.outlines(masks.encode(bits))
    assert found.polygons is not None and len(found.polygons) == len(outlines)
    assert np.array_equal(
        masks.decode(masks.from_polygons(found.polygons, HEIGHT, WIDTH)),
        masks.decode(masks.from_polygons(outlines, HEIGHT, WIDTH)),
    )


EXTREME = {"wide": (10_000, 20), "dot": (1, 1), "slit": (3, 400), "turned": (48, 90)}


@pytest.mark.parametrize("shape", EXTREME)
@pytest.mark.parametrize("control", ["brush", "polygon"])
def test_clicks_on_images_of_any_shape(shape: str, control: str, sam: Sam, tmp_path: Path) -> None:
    """A mask of the upright image, or nothing; never an error."""
    project = draw_project(tmp_path, "instance-segmentation", 1)
    width, height = EXTREME[shape]
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    exif = Image.Exif()
    if shape == "turned":
        # As a phone held upright stores it.
        exif[0x0112] = 6
        pixels = np.rot90(pixels)
    Image.fromarray(pixels).save(project.images / f"{shape}.png", exif=exif)
    catalog.run(project)
    record = next(r for r in read_catalog(project.catalog) if r.path == f"{shape}.png")
    assert (record.width, record.height) == (width, height)
    upright = decode.from_file(project.shown_path(record))
    controls = regions.controls(TASKS["instance-segmentation"], control)
    backend = prompting.Prompted(lambda: sam, lambda r: upright, Interface("", controls), pytest.fail)
    for context, prompt in (
        ([click(50, 50)], ([(width / 2, height / 2)], [True])),
        ([frame(0, 0, 100, 100)], ([], [], (0.0, 0.0, float(width), float(height)))),
    ):
        bits = sam.mask(sam.embed(upright), *prompt)
        result = backend.answer(record, context)["result"]
        assert {(r["original_width"], r["original_height"]) for r in result} <= {(width, height)}
        assert bool(result) == bool(bits.any())
        me = Provenance("person", "me")
        labels = regions.from_result(result, width, height, me, controls=controls).annotations
        assert all(a.within(width, height) for a in labels)
        if control == "brush":
            assert [np.array_equal(masks.decode(a.mask), bits) for a in labels] == [True] * len(result)


class Counted:
    """A real model that counts how often it looks at an image."""

    def __init__(self, sam: Sam) -> None:
        self.sam, self.name, self.revision, self.looked = sam, sam.name, sam.revision, 0

    def embed(self, image: Any) -> Any:
        self.looked += 1
        return self.sam.embed(image)

    def mask(self, *prompt: Any) -> np.ndarray:
        return self.sam.mask(*prompt)


def test_each_image_is_looked_at_once_while_it_is_remembered(
    asking: Asking, sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompting, "KEPT", 2)
    counted = Counted(sam)
    record, other, third = list(asking.records.values())[:3]
    controls = regions.controls(TASKS["instance-segmentation"])

    def pixels(of: ImageRecord) -> Any:
        return decode.from_file(asking.project.image_path(of.path))

    backend = prompting.Prompted(lambda: counted, pixels, Interface("", controls), pytest.fail)
    threads = [
        threading.Thread(target=backend.answer, args=(one, [click(25, 50)]))
        for one in [record, other, record, other, record]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.looked == 2
    backend.answer(third, [click(25, 50)])
    assert counted.looked == 3
    backend.answer(third, [click(25, 50)])
    backend.answer(record, [click(25, 50)])
    backend.answer(other, [click(25, 50)])
    assert 4 <= counted.looked <= 5


def test_a_model_that_cannot_be_loaded_is_said_so() -> None:
    said: list[str] = []

    def load() -> Any:
        raise ModelError("no weights", "fetch them")

    record = ImageRecord("a", "a.png", 10, 10, "train")
    backend = prompting.Prompted(load, lambda r: pytest.fail("looked"), Interface("", {}), said.append)
    with pytest.raises(ModelError, match="no weights -> fetch them"):
        backend.answer(record, [click(1, 1)])
    assert said == ["no masks for clicks: no weights -> fetch them"]
    nothing: Any = None
    slow = prompting.Prompted(
        lambda: time.sleep(1) or nothing, lambda r: nothing, Interface("", {}), said.append, patience=0.05
    )
    with pytest.raises(ModelError, match="is still being loaded -> click again in a moment"):
        slow.answer(record, [click(1, 1)])


OWN = """<View>
  <Image name="photo" value="$image"/>
  <BrushLabels name="shape" toName="photo">
    <Label value="disk" alias="ring"/><Label value="bar"/><Label value="tile"/>
  </BrushLabels>
  <KeyPointLabels name="click" toName="photo" smart="true" smartOnly="true">
    <Label value="disk"/>
  </KeyPointLabels>
</View>"""


class Half:
    """Draws the left half of any image."""

    name, revision = "half, of it", "0123456789"

    def embed(self, image: Any) -> Any:
        return image

    def mask(self, image: Any, points: Any, positive: Any, box: Any = None) -> np.ndarray:
        bits = np.zeros(image.shape[:2], bool)
        bits[:, : image.shape[1] // 2] = True
        return bits


def test_a_mask_names_the_image_and_control_of_an_interface_of_ones_own() -> None:
    interface = read_interface(OWN, "own.xml", Schema.of("instance-segmentation", CLASSES))
    pixels = np.zeros((10, 20, 3), np.uint8)
    backend = prompting.Prompted(Half, lambda r: pixels, interface, pytest.fail)
    click = {"type": "keypointlabels", "value": {"x": 5, "y": 5, "keypointlabels": ["disk"]}}
    prediction = backend.answer(ImageRecord("a", "a.png", 20, 10, "train"), [click])
    (region,) = prediction["result"]
    assert (region["from_name"], region["to_name"]) == ("shape", "photo")
    assert region["value"]["brushlabels"] == ["ring"]
    # As push and the guesses of whole images name a model: no comma, of which Label Studio makes lists.
    assert prediction["model_version"] == "half-of-it@01234567"


def test_only_models_that_draw_for_clicks_and_tasks_of_masks(tmp_path: Path) -> None:
    boxes = draw_project(tmp_path, "detection", 1)
    assert serve.segmenter_spec(boxes, "") == ""
    with pytest.raises(StageError, match="none are labeled in detection -> leave --interactive out"):
        serve.segmenter_spec(boxes, "sam2")
    painted = draw_project(tmp_path, "semantic-segmentation", 1)
    assert serve.segmenter_spec(painted, "") == "sam2"
    assert serve.segmenter_spec(painted, "sam:x") == "sam:x"
    with pytest.raises(ModelError, match="'yolo11n.pt' draws no masks for clicks"):
        serve.segmenter_spec(painted, "yolo11n.pt")
    chain = '[preannotate]\nmodel = ["grounding-dino", "sam"]\n'
    chained = draw_project(tmp_path / "chain", "instance-segmentation", 1, chain)
    assert serve.segmenter_spec(chained, "") == "sam"


class Slow:
    """A model that takes its time, and fails where it is told to."""

    version = "slow@1"

    def __init__(self, seconds: float = 0.0, broken: str = "") -> None:
        self.seconds, self.broken, self.asked = seconds, broken, list[str]()

    def known(self, record: ImageRecord) -> Json | None:
        return {} if record.id == "blind" else None

    def guess(self, records: Sequence[ImageRecord]) -> Mapping[str, Json]:
        self.asked += [r.id for r in records]
        time.sleep(self.seconds)
        if self.broken in self.asked[-len(records) :]:
            raise RuntimeError("out of memory")
        return {r.id: {"result": [r.id], "score": 0.5, "model_version": self.version} for r in records}

    def close(self) -> None:
        self.asked.append("closed")


def images_of(*names: str) -> dict[int, ImageRecord]:
    return {n: ImageRecord(name, f"{name}.png", 10, 10, "train") for n, name in enumerate(names, 1)}


def test_what_is_not_ready_in_time_is_delivered_once() -> None:
    model, late = Slow(0.5), []
    predictor = Predictor(lambda: model, pytest.fail, late.append)
    start = time.monotonic()
    assert predictor.ask(images_of("a", "blind", "b"), patience=0.1) == {}
    assert time.monotonic() - start < 0.4
    wait_until(lambda: late)
    assert {t: p["result"] for t, p in late[0].items()} == {1: ["a"], 3: ["b"]}
    assert sorted(predictor.ask(images_of("a", "blind", "b"), patience=0.1)) == [1, 2, 3]
    # Who asks again meanwhile gets it, and is not sent it as well.
    assert predictor.ask(images_of("c"), patience=0.05) == {}
    assert predictor.ask(images_of("c"), patience=5)[1]["result"] == ["c"]
    predictor.close()
    assert len(late) == 1
    assert model.asked == ["a", "b", "c", "closed"]


def test_one_image_somebody_looks_at_goes_before_a_batch() -> None:
    model = Slow(0.1)
    predictor = Predictor(lambda: model, pytest.fail)
    names = [f"{n:02d}" for n in range(24)]
    predictor.ask(images_of(*names), patience=0.05)
    assert predictor.ask(images_of("now"), patience=5)[1]["result"] == ["now"]
    assert model.asked.index("now") <= 16
    assert len(predictor.ask(images_of(*names), patience=5)) == 24
    assert sorted(model.asked) == [*names, "now"]
    predictor.close()


def test_a_model_that_fails_on_an_image_goes_on() -> None:
    said: list[str] = []
    predictor = Predictor(lambda: Slow(broken="bad"), said.append)
    assert predictor.ask(images_of("bad"), patience=5) == {1: {}}
    assert predictor.ask(images_of("good"), patience=5)[1]["result"] == ["good"]
    assert said == ["no guesses on 1 images: RuntimeError: out of memory"]
    predictor.close()


def test_more_images_than_are_kept_are_all_delivered() -> None:
    late: dict[int, Json] = {}
    predictor = Predictor(Slow, pytest.fail, late.update)
    count = KEPT + 500
    ready = predictor.ask(images_of(*map(str, range(count))), patience=0.01)
    wait_until(lambda: len(ready) + len(late) >= count)
    assert not ready.keys() & late.keys()
    predictor.close()


def test_without_a_model_the_reason_is_said(tmp_path: Path) -> None:
    project = draw_project(tmp_path, "detection", 2, '[preannotate]\nmodel = "detr:nowhere/at-all"\n')
    catalog.run(project)
    said: list[str] = []
    (project.folder / "nowhere" / "at-all").mkdir(parents=True)
    with serve.serving(project, serve.Wishes(), None, said.append) as url:
        asking = Asking(project, url, said)
        wait_until(lambda: said)
        body = {"tasks": [{"id": 1, "data": {"image_id": next(iter(asking.records))}}]}
        answer = asking.http.post("/predict", json=body)
        assert answer.status_code == 503
        assert [answer.json()["error"]] == said
        assert said[0].startswith("no guesses: ") and "detr:nowhere/at-all" in said[0]
        click_ = body | {"params": {"context": {"result": [click(1, 1)]}}}
        error = "no masks for clicks here: workflow serve --interactive MODEL"
        answer = asking.http.post("/predict", json=click_)
        assert (answer.status_code, answer.json()) == (501, {"error": error})


def test_any_number_of_hints_is_one_run_soon() -> None:
    runs: list[float] = []

    def work() -> bool:
        runs.append(time.monotonic())
        time.sleep(0.2)
        return True

    soon = Soon(work, quiet=0.1)
    start = time.monotonic()
    for _ in range(200):
        soon.hint()
    assert time.monotonic() - start < 0.1
    wait_until(lambda: runs)
    # During the run: it may have missed that.
    soon.hint()
    wait_until(lambda: len(runs) == 2)
    time.sleep(0.5)
    soon.close()
    assert len(runs) == 2


def test_what_could_not_be_done_is_tried_again() -> None:
    tries: list[int] = []

    def work() -> bool:
        tries.append(1)
        return len(tries) == 3

    soon = Soon(work, quiet=0.01, again=0.05)
    soon.hint()
    wait_until(lambda: len(tries) == 3)
    time.sleep(0.2)
    soon.close()
    assert len(tries) == 3


def test_a_taken_port_is_refused(asking: Asking) -> None:
    port = asking.http.base_url.port
    wishes = serve.Wishes(interactive="sam:tiny/sam2", port=port)
    taken = pytest.raises(ServiceError, match=f"port {port} is taken -> leave --port out")
    with taken, serve.serving(asking.project, wishes, None, print):
        pass


def wait_until(check: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_nothing_secret_is_in_the_answers(asking: Asking) -> None:
    known = keys.credentials(state_folder(asking.project.workspace))
    answers = [asking.http.post(path, json={}).text for path in PATHS] + asking.said
    assert not any(known.password in text or known.secret in text for text in map(json.dumps, answers))
