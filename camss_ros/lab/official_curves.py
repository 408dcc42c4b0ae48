"""The robustness of the official CAM-Seg, read off the figures of its paper (arXiv 2503.15617).

AP (our `precision_void_excluded`) on Cityscapes val, in percent; clean 70.2. Another data set, in
another resolution, and another network than the bundled model's: to be read beside, not against.
"""

CLEAN_AP = 70.2

CURVES: dict[str, tuple[tuple[float, float], ...]] = {
    "gaussian_noise": ((5, 69.1), (100, 69.1)),
    "salt_and_pepper": ((0.1, 62.5), (0.5, 54.0), (0.6, 9.0)),
    "motion_blur": ((21, 66.5), (51, 62.5), (105, 58.5), (151, 34.5)),
    "saturation": ((0, 61.2),),
    "hue": ((-0.2, 59.0), (0.2, 62.5)),
}
"""By corruption: (value of its knob, AP)."""

LOWEST: dict[str, float] = {"gaussian_blur": 66.9, "brightness": 68.8, "contrast": 68.8}
"""The lowest AP over the range, where the figures tell no more."""
