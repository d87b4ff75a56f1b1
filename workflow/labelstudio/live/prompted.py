"""A person's clicks or rectangle in, a mask out: each image is looked at once, then every click is quick."""

from __future__ import annotations

import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from workflow.errors import ModelError, WorkflowError
from workflow.labelstudio import regions
from workflow.labelstudio.interface import Interface
from workflow.labelstudio.pushed import version_of
from workflow.records import Annotation, ImageRecord, Json, Point, Provenance
from workflow.review import Pixels, Segmenter
from workflow.shapes import masks

Box = tuple[float, float, float, float]
# Images whose embedding is kept: some 4 MB each of SAM, 12 of SAM 2.
KEPT = 16
# Seconds a click may wait for a model that is being loaded, or for other people's clicks.
PATIENCE = 60.0


@dataclass(frozen=True)
class Prompt:
    """What a person pointed at, in pixels of the upright image, and under which label."""

    label: str
    points: tuple[Point, ...] = ()
    positive: tuple[bool, ...] = ()
    box: Box | None = None


def read_prompt(result: Sequence[Mapping[str, Any]], width: int, height: int) -> Prompt | None:
    """The prompt that the editor's smart regions mean: their clicks together, their last rectangle.

    The label is that of the last region. None where they point at nothing. ValueError where they are no
    smart regions.
    """
    label, box = "", None
    points: list[Point] = []
    positive: list[bool] = []
    for region in result:
        kind, value = str(region.get("type")), region.get("value")
        if kind not in regions.PROMPTS or not isinstance(value, Mapping):
            raise ValueError(f"a prompt of type {kind!r}, which is none of {', '.join(regions.PROMPTS)}")
        names = value.get(kind)
        label = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else label
        x, y = _number(value, "x") * width, _number(value, "y") * height
        if kind == "keypointlabels":
            points.append((min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))))
            positive.append(bool(region.get("is_positive", True)))
        else:
            right, lower = x + _number(value, "width") * width, y + _number(value, "height") * height
            cut = (max(x, 0.0), max(y, 0.0), min(right, float(width)), min(lower, float(height)))
            box = cut if cut[0] < cut[2] and cut[1] < cut[3] else box
    if not label or not (box or any(positive)):
        return None
    return Prompt(label, tuple(points), tuple(positive), box)


def _number(value: Mapping[str, Any], name: str) -> float:
    """A share of the image, which the editor writes in percent."""
    percent = value.get(name)
    if not isinstance(percent, int | float) or not math.isfinite(percent):
        raise ValueError(f"a prompt whose {name} is {percent!r}")
    return percent / 100


class Prompted:
    """Draws what prompts mean. `load` runs at once, in the background; `say` is told if it fails.

    They are drawn for the project's `interface`: a mask where it has brushes, else outlines, which may cut
    the stairs of its edge by `tolerance` pixels.
    """

    def __init__(
        self,
        load: Callable[[], Segmenter],
        pixels: Callable[[ImageRecord], Pixels],
        interface: Interface,
        say: Callable[[str], None],
        tolerance: float = 0.0,
        patience: float = PATIENCE,
    ) -> None:
        self._pixels, self._interface, self._tolerance = pixels, interface, tolerance
        self._patience = patience
        self._embedded: OrderedDict[str, Any] = OrderedDict()
        self._alone = threading.Lock()
        self._model: Future[Segmenter] = Future()

        def fill() -> None:
            try:
                self._model.set_result(load())
            except Exception as error:
                say(f"no masks for clicks: {error}")
                self._model.set_exception(error)

        # A daemon, so that nobody who stops us waits for weights that are being fetched.
        threading.Thread(target=fill, name="prompted", daemon=True).start()

    def answer(self, record: ImageRecord, result: Sequence[Mapping[str, Any]]) -> Json:
        """The prediction {result, score, model_version} for the editor's smart regions.

        ModelError where the model could not be loaded, or is not ready in time; ImageError where the image
        is gone; ValueError where the regions are no prompts.
        """
        prompt = read_prompt(result, record.width, record.height)
        model = self._loaded()
        nothing: Json = {"result": [], "score": 0.0, "model_version": version_of(model.name, model.revision)}
        if prompt is None:
            return nothing
        if not self._alone.acquire(timeout=self._patience):
            raise ModelError("the model is busy with other clicks", "click again")
        try:
            bits = model.mask(self._embedding(model, record), prompt.points, prompt.positive, prompt.box)
        finally:
            self._alone.release()
        if not bits.any():
            return nothing
        provenance = Provenance("model", model.name, model.revision)
        drawn = Annotation(prompt.label, provenance, mask=masks.encode(bits), id=secrets.token_hex(5))
        size = (record.width, record.height)
        # Who clicked sees at once if a hole was filled.
        shown = self._interface.fit([drawn], *size, lambda why: None, self._tolerance)
        return nothing | {"result": self._interface.write(shown, *size)}

    def _loaded(self) -> Segmenter:
        try:
            return self._model.result(self._patience)
        except TimeoutError:
            raise ModelError("the model is still being loaded", "click again in a moment") from None
        except WorkflowError:
            raise
        except Exception as error:
            raise ModelError(f"the model cannot be loaded ({type(error).__name__}: {error})") from None

    def _embedding(self, model: Segmenter, record: ImageRecord) -> Any:
        if record.id not in self._embedded:
            self._embedded[record.id] = model.embed(self._pixels(record))
            while len(self._embedded) > KEPT:
                self._embedded.popitem(last=False)
        self._embedded.move_to_end(record.id)
        return self._embedded[record.id]
