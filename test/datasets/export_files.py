"""Export files of labelling tools that only export, as those write them."""

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from camss_ros.images.label_sets import LabelSet


def supervisely_bitmap(mask: np.ndarray) -> str:
    """As its SDK's `Bitmap.data_2_base64`."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    data = io.BytesIO()
    image.save(data, format="PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(data.getvalue())).decode()


def write_supervisely(
    root: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], label_set: LabelSet
) -> None:
    for folder in ("img", "ann"):
        (root / "project" / "dataset" / folder).mkdir(parents=True)
    classes = [
        {"title": one.name, "shape": "bitmap", "color": "#FF0000"} for one in label_set.classes
    ]
    meta = {"classes": classes, "tags": [], "projectType": "images"}
    (root / "project" / "meta.json").write_text(json.dumps(meta))
    for name, label in labels.items():
        height, width = label.shape
        objects = []
        for one in label_set.classes:
            rows, columns = np.nonzero(label == one.id)
            if not len(rows):
                continue
            y, x = int(rows.min()), int(columns.min())
            mask = (label == one.id)[y : rows.max() + 1, x : columns.max() + 1]
            objects.append({
                "geometryType": "bitmap", "classTitle": one.name, "tags": [],
                "bitmap": {"data": supervisely_bitmap(mask), "origin": [x, y]},
            })  # fmt: skip
        content = {"description": "", "tags": [], "size": {"height": height, "width": width}}
        folder = root / "project" / "dataset"
        path = folder / "ann" / f"{name}.png.json"
        path.write_text(json.dumps({**content, "objects": objects}))
        cv2.imwrite(str(folder / "img" / f"{name}.png"), images[name])


def write_roboflow(
    root: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], label_set: LabelSet
) -> None:
    """Split at random, renamed, class 0 is the background."""
    lines = ["Pixel Value, Class", "0, background"]
    lines += [f"{one.id + 1}, {one.name}" for one in label_set.classes]
    for number, (name, label) in enumerate(labels.items()):
        folder = root / ("train", "valid")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "_classes.csv").write_text("\n".join(lines) + "\n")
        renamed = f"{name}_png.rf.{number:032x}"
        cv2.imwrite(str(folder / f"{renamed}.jpg"), images[name])
        values = np.where(label == 255, 0, label + 1).astype(np.uint8)
        cv2.imwrite(str(folder / f"{renamed}_mask.png"), values)


def labelme_file(name: str, shape: tuple[int, int], shapes: list[dict[str, Any]]) -> str:
    content = {
        "version": "5.5.0", "flags": {}, "imagePath": f"..\\images\\{name}.png", "imageData": None,
        "imageHeight": shape[0], "imageWidth": shape[1],
        "shapes": [{"group_id": None, "flags": {}, **one} for one in shapes],
    }  # fmt: skip
    return json.dumps(content)


def labelme_mask(mask: np.ndarray, name: str, x: int, y: int) -> dict[str, Any]:
    """A shape of type mask, as its AI tools leave it: corners within, the mask as PNG."""
    data = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(data, format="PNG")
    points = [[x, y], [x + mask.shape[1] - 1, y + mask.shape[0] - 1]]
    text = base64.b64encode(data.getvalue()).decode()
    return {"label": name, "shape_type": "mask", "points": points, "mask": text}


def write_labelme(
    root: Path, images: dict[str, np.ndarray], labels: dict[str, np.ndarray], label_set: LabelSet
) -> None:
    for folder in ("images", "json"):
        (root / folder).mkdir(parents=True)
    for name, label in labels.items():
        cv2.imwrite(str(root / "images" / f"{name}.png"), images[name])
        shapes = [
            labelme_mask(label == one.id, one.name, 0, 0)
            for one in label_set.classes
            if (label == one.id).any()
        ]
        text = labelme_file(name, label.shape, shapes)  # type: ignore[arg-type]
        (root / "json" / f"{name}.json").write_text(text)
