"""A frame, and the labels that the bundled model was shipped with for it.

`python -m camss_ros.doctor.golden` makes the record again, by PyTorch in float32 on the CPU: after
the bundled weights have changed.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import camss_ros
from camss_ros.atomic_files import replacing

if TYPE_CHECKING:  # who only asks for the weights need not have it
    import numpy as np

MODEL = "camss-tiny"
WEIGHTS = Path(camss_ros.__file__).parent / "weights" / MODEL / "model.safetensors"
RECORD = WEIGHTS.with_name("golden.json")
_SEED = 2026


def golden_frame() -> np.ndarray:
    """uint8 [360, 480, 3] RGB, of the synthetic street."""
    from camss_ros.street.synthetic import random_scene

    return random_scene(_SEED)[0]


def golden_weights() -> str:
    """SHA-256 of the weights that the labels are of. Raises OSError, ValueError."""
    return str(_record()["weights_sha256"])


def agreement(labels: np.ndarray) -> float:
    """Share of the pixels that have the recorded label. Raises OSError, ValueError."""
    import cv2
    import numpy as np

    data = np.frombuffer(base64.b64decode(_record()["labels_png"]), np.uint8)
    return float((labels == cv2.imdecode(data, cv2.IMREAD_UNCHANGED)).mean())


def _record() -> dict[str, str]:
    content: dict[str, str] = json.loads(RECORD.read_text())
    return content


def main() -> None:
    """Write the record."""
    from camss_ros.images.image_files import encode_image
    from camss_ros.inference.segmenter import Segmenter
    from camss_ros.model.checkpoint import weights_hash

    segmenter = Segmenter(MODEL, device="cpu", precision="fp32")
    png = encode_image(segmenter.segment(golden_frame()).labels, ".png")
    content = {
        "weights_sha256": weights_hash(MODEL),
        "labels_png": base64.b64encode(png).decode(),
    }
    with replacing(RECORD) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")
    print(f"wrote {RECORD}")


if __name__ == "__main__":
    main()
