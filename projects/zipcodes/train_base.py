"""Train the demo's base model: a small detector that has only ever seen printed digits.

It stands in for the weights one would fetch from a model hub, so that the demo works offline.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from envelope import (
    GLYPH,
    HEIGHT,
    WIDTH,
    ZOOM,
    Array,
    Box,
    blank_paper,
    ink_in,
    photograph,
    put_stamp,
    write_row,
)
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Families with ordinary upright digits; the other shipped fonts hold symbols only.
FAMILIES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral", "cm")
NO_DIGITS = ("cmex10", "cmsy10", "cmmi10", "DejaVuSansDisplay", "DejaVuSerifDisplay")
WORDS = ["Mr", "Mrs", "Ada", "Lovelace", "North", "Street", "Oak", "Avenue", "Road", "Green"]
WORDS += ["Hill", "Lake", "View", "Suite", "Box"]
PRINT_INKS = ((30, 28, 28), (96, 48, 30), (60, 60, 64))
RECIPE: dict[str, Any] = {
    "imgsz": 384,
    "rect": True,
    "epochs": 14,
    "batch": 16,
    "nbs": 16,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 1,
    "mosaic": 0,
    "fliplr": 0,
    "flipud": 0,
    "degrees": 3,
    "scale": 0.25,
    "translate": 0.1,
    "hsv_h": 0.05,
    "workers": 0,
    "cache": "ram",
    "device": "cpu",
    "amp": False,
    "plots": False,
    "seed": 0,
    "deterministic": True,
}


@cache
def fonts() -> list[Path]:
    files = [path for family in FAMILIES for path in FONTS.glob(f"{family}*.ttf")]
    return sorted({path for path in files if path.stem not in NO_DIGITS})


@cache
def typeface(font: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font), 62)


def printed(text: str, font: Path) -> Array:
    """Text as a mask whose capitals and digits fill about a glyph's height."""
    face = typeface(font)
    left, top, right, bottom = face.getbbox("0" if len(text) == 1 else text)
    page = Image.new("L", (int(right - left) + 40, GLYPH + 16))
    tall = face.getbbox("0")
    ImageDraw.Draw(page).text((20 - left, 14 - tall[1]), text, fill=255, font=face)
    return np.asarray(page, np.float32) / 255


def print_words(rng: np.random.Generator, sheet: Array, x: float, y: float, size: float) -> None:
    """A line of printed letters: what is not a digit has to be learnt as well."""
    font = fonts()[rng.integers(len(fonts()))]
    text = " ".join(rng.choice(WORDS, int(rng.integers(2, 4))))
    mask = printed(text, font)
    scale = size / GLYPH
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    laid = cv2.warpAffine(mask, matrix, sheet.shape[1::-1], flags=cv2.INTER_AREA)
    ink_in(sheet, laid, PRINT_INKS[rng.integers(len(PRINT_INKS))], 0.85)


def draw_print(rng: np.random.Generator) -> tuple[NDArray[np.uint8], list[int], list[Box]]:
    """An envelope with three rows of printed digits, on paper plainer than the demo's."""
    sheet = blank_paper(rng, ZOOM * HEIGHT, ZOOM * WIDTH, rng.uniform(0, 4))
    print_words(rng, sheet, rng.uniform(30, 60), rng.uniform(16, 30), rng.uniform(20, 30))
    print_words(rng, sheet, rng.uniform(30, 300), rng.uniform(300, 316), rng.uniform(28, 40))
    if rng.random() < 0.6:
        put_stamp(rng, sheet)
    labels: list[int] = []
    masks: list[Array] = []
    for top in (120, 243, 430):
        font = fonts()[rng.integers(len(fonts()))]
        row = rng.integers(0, 10, int(rng.integers(4, 7)))
        glyphs = [printed(str(digit), font) for digit in row]
        at = (rng.uniform(40, 260), top + rng.uniform(-8, 8))
        colour = PRINT_INKS[rng.integers(len(PRINT_INKS))]
        size, slant = rng.uniform(62, 100), rng.uniform(-0.05, 0.2)
        masks += write_row(rng, sheet, glyphs, at, size, slant, colour)
        labels += [int(digit) for digit in row]
    image, boxes = photograph(rng, sheet, masks, plain=True)
    return image, labels, boxes


def draw_dataset(folder: Path, train: int, val: int) -> Path:
    """Write drawn print in the layout that ultralytics reads; returns its data.yaml."""
    for index in range(train + val):
        part = "train" if index < train else "val"
        image, labels, boxes = draw_print(np.random.default_rng([7, index]))
        height, width = image.shape[:2]
        lines = []
        for label, (x1, y1, x2, y2) in zip(labels, boxes, strict=True):
            place = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
            extent = ((x2 - x1) / width, (y2 - y1) / height)
            lines.append(" ".join([str(label), *(f"{v:.6f}" for v in (*place, *extent))]))
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / part / f"{index:04d}.jpg"), image)
        (folder / "labels" / part / f"{index:04d}.txt").write_text("\n".join(lines) + "\n")
    names = "".join(f'  {digit}: "{digit}"\n' for digit in range(10))
    data = folder / "data.yaml"
    data.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return data


def load_ultralytics(config: Path) -> Any:
    """Import ultralytics so that it neither reaches for the network nor runs code in weights."""
    os.environ |= {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "0",
        "YOLO_CONFIG_DIR": str(config),
        "ULTRALYTICS_SAFE_LOAD": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    # The check of a dataset fetches this font when it is missing.
    (config / "Ultralytics").mkdir(parents=True)
    shutil.copy(FONTS / "DejaVuSans.ttf", config / "Ultralytics" / "Arial.ttf")
    import ultralytics

    services = ["sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb"]
    ultralytics.settings.update(dict.fromkeys(services, False))
    return ultralytics.YOLO


def train(work: Path, images: int, epochs: int, threads: int) -> Path:
    """Train from random weights; returns the best checkpoint."""
    data = draw_dataset(work / "print", images, 60)
    model = load_ultralytics(work / "config")("yolo11n.yaml", verbose=False)

    def use_all_cores(trainer: Any) -> None:
        # On the CPU ultralytics leaves one core idle; undone here because it does so late.
        import torch

        torch.set_num_threads(threads)

    model.add_callback("on_train_start", use_all_cores)
    model.train(
        **RECIPE | {"epochs": epochs},
        data=str(data),
        project=str(work),
        name="run",
        exist_ok=True,
        verbose=False,
    )
    return work / "run" / "weights" / "best.pt"


def publish(checkpoint: Path, out: Path) -> None:
    """Copy the weights without what only concerns the machine that trained them."""
    import torch

    content = torch.load(checkpoint, weights_only=False)  # our own file, written a moment ago
    for args in (content["train_args"], getattr(content["model"], "args", {})):
        for key in ("data", "project", "name", "save_dir"):
            args.pop(key, None)
    content.pop("git", None)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_suffix(".tmp")
    torch.save(content, draft)
    draft.replace(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "base" / "printed-digits.pt")
    parser.add_argument("--work", type=Path, help="keep the drawn print and the run here")
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        best = train(chosen.work or Path(scratch), chosen.images, chosen.epochs, chosen.threads)
        publish(best, chosen.out)
    print(f"{chosen.out} after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
