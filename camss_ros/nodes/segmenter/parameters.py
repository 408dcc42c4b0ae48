"""Every parameter of the segmenter: type, range, default, description, and when it may change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rclpy.node import Node

from camss_ros.nodes import parameter_table
from camss_ros.nodes.camera_names import camera_names, camera_names_problem
from camss_ros.nodes.parameter_table import Change, DeclaredParameters, ParameterSpec
from camss_ros.nodes.qos import PROFILES
from camss_ros.nodes.segmenter.parameter_checks import (
    device_problem,
    model_problem,
    network_size_problem,
)

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec
    from camss_ros.model.schedule import SamplingOptions


SPECS = (
    ParameterSpec(
        "autostart", True, "Configure and activate the node when it starts.", Change.NEVER
    ),
    # rclpy has no empty array of strings.
    ParameterSpec(
        "cameras",
        ("",),
        "Names of cameras that are segmented together: front has front/image, front/camera_info "
        "and front/segmentation/... Empty: one camera without a name.",
        Change.NEVER,
        check=camera_names_problem,
    ),
    ParameterSpec(
        "model",
        "camss-tiny",
        "Name of a bundled model, directory of a saved one, or Hugging Face Hub id.",
        Change.RELOAD,
        check=model_problem,
    ),
    ParameterSpec(
        "device",
        "auto",
        "Where the network runs: auto (CUDA if there is one), cpu, cuda or cuda:N.",
        Change.RELOAD,
        check=device_problem,
    ),
    ParameterSpec(
        "precision",
        "auto",
        "Number format of the network; int8 is backend openvino's, on a CPU.",
        Change.RELOAD,
        choices=("auto", "fp32", "bf16", "fp16", "int8"),
    ),
    ParameterSpec(
        "backend",
        "auto",
        "What runs the network; auto measures once, while torch segments, which is the fastest on "
        "this machine.",
        Change.RELOAD,
        choices=("auto", "torch", "compile", "onnxruntime", "openvino", "tensorrt"),
    ),
    ParameterSpec(
        "network_size",
        (0, 0),
        "Width and height of the images in the network, multiples of 16; smaller is faster and "
        "coarser. 0: the model's own.",
        Change.RELOAD,
        bounds=(0, 4096),
        check=network_size_problem,
    ),
    ParameterSpec(
        "seed",
        0,
        "Seed of the sampling noise: the same image gives the same labels.",
        Change.RELOAD,
        bounds=(0, 2**31 - 1),
    ),
    ParameterSpec(
        "steps",
        1,
        "Denoising steps a frame. From zero (temperature 0) one scores as well as more; drawing "
        "samples takes a few.",
        Change.ALWAYS,
        bounds=(1, 1000),
    ),
    ParameterSpec(
        "sampler",
        "ddim",
        "How the denoising steps are taken.",
        Change.ALWAYS,
        choices=("ddim", "dpm++2m", "ddpm"),
    ),
    ParameterSpec(
        "samples",
        1,
        "Label images drawn a frame, whose class probabilities are averaged.",
        Change.ALWAYS,
        bounds=(1, 64),
    ),
    ParameterSpec(
        "temperature",
        0.0,
        "Share of the noise: 0 goes to the most likely labels, 1 samples.",
        Change.ALWAYS,
        bounds=(0.0, 2.0),
    ),
    ParameterSpec(
        "warm_start_time",
        0,
        "Timestep from which tokens whose picture has not changed go on from the latents of the "
        "frame before, for steadier labels; 0: none does.",
        Change.ALWAYS,
        bounds=(0, 999),
    ),
    ParameterSpec(
        "latency_budget_ms",
        0.0,
        "95th percentile that the time from an image's arrival to its mask (ms) is kept under, by "
        "fewer steps and samples. 0: no budget.",
        Change.ALWAYS,
        bounds=(0.0, 60000.0),
    ),
    ParameterSpec(
        "allow_smaller_size",
        False,
        "The latency budget may also make the network's input smaller.",
        Change.ALWAYS,
    ),
    ParameterSpec(
        "output_size",
        (0, 0),
        "Width and height of the outputs; 0: as the image, or from the other at its aspect ratio.",
        Change.ALWAYS,
        bounds=(0, 16384),
    ),
    ParameterSpec(
        "mask_format",
        "mono8",
        "mono8: class ids; autoware_rle: Image of runs of class and length; "
        "png: CompressedImage on `segmentation/mask/compressed`.",
        Change.UNCONFIGURED,
        choices=("mono8", "autoware_rle", "png"),
    ),
    ParameterSpec(
        "label_set",
        "",
        "Label set that is published: a name, a YAML file, or empty for the model's own "
        "(autoware16 with mask_format autoware_rle).",
        Change.UNCONFIGURED,
    ),
    ParameterSpec(
        "ignore_below_confidence",
        0.0,
        "Pixels whose class is less probable become 255 (void).",
        Change.ALWAYS,
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "image_transport",
        "raw",
        "raw: sensor_msgs/Image on `image`; compressed: CompressedImage on `image/compressed`.",
        Change.UNCONFIGURED,
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "image_conversion",
        "auto",
        "What converts raw images: auto takes cv_bridge where it is installed and passes a "
        "self-test, for what that converts without loss, and builtin for the rest.",
        Change.UNCONFIGURED,
        choices=("auto", "cv_bridge", "builtin"),
    ),
    ParameterSpec(
        "image_qos",
        "sensor_data",
        "Quality of service of the image and camera_info subscriptions.",
        Change.UNCONFIGURED,
        choices=tuple(PROFILES),
    ),
    ParameterSpec(
        "output_qos",
        "system_default",
        "Quality of service of the images below segmentation/ and of its camera_info.",
        Change.UNCONFIGURED,
        choices=tuple(PROFILES),
    ),
    ParameterSpec(
        "warn_no_image",
        2.0,
        "Time without an image (s), for WARN in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 3600.0),
    ),
    ParameterSpec(
        "error_no_image",
        10.0,
        "Time without an image (s), for ERROR in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 3600.0),
    ),
    ParameterSpec(
        "warn_latency",
        0.0,
        "95th percentile of the latency (s), for WARN in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 3600.0),
    ),
    ParameterSpec(
        "error_latency",
        0.0,
        "95th percentile of the latency (s), for ERROR in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 3600.0),
    ),
    ParameterSpec(
        "warn_rate",
        0.0,
        "Label images a second, below this (Hz), for WARN in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "error_rate",
        0.0,
        "Label images a second, below this (Hz), for ERROR in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 1000.0),
    ),
    ParameterSpec(
        "warn_unusable",
        0.0,
        "Share of images that could not be segmented, for WARN in /diagnostics.",
        Change.ALWAYS,
        bounds=(0.0, 1.0),
    ),
    ParameterSpec(
        "error_unusable",
        0.5,
        "Share of images that could not be segmented, for ERROR in /diagnostics.",
        Change.ALWAYS,
        bounds=(0.0, 1.0),
    ),
)


class ParameterValues(parameter_table.ParameterValues):
    """Values of all parameters at a moment; they do not change."""

    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras; none for one without a name."""
        return camera_names(self._values["cameras"])

    def network_size(self) -> tuple[int, int] | None:
        """(height, width) of the images in the network; None: the model's own."""
        width, height = self._values["network_size"]
        return (height, width) if width or height else None

    def segmenter_spec(self) -> SegmenterSpec:
        """How the segmenter is opened."""
        from camss_ros.inference.spec import SegmenterSpec  # imports torch: only when needed

        values = self._values
        return SegmenterSpec(
            values["model"],
            self.sampling(),
            values["seed"],
            values["device"],
            values["precision"],
            values["backend"],
            self.network_size(),
        )

    def sampling(self) -> SamplingOptions:
        """The sampling options."""
        from camss_ros.model.schedule import SamplingOptions  # imports torch: only when needed

        values = self._values
        return SamplingOptions(
            steps=values["steps"],
            sampler=values["sampler"],
            samples=values["samples"],
            temperature=values["temperature"],
            warm_start_time=values["warm_start_time"],
        )


def node_parameters(spec: SegmenterSpec) -> dict[str, Any]:
    """The parameters of a node that segments as `spec` says: what `segmenter_spec` is made from.

    First timestep, iterations and their order are not among them. Raises ValueError for a value
    that the node refuses.
    """
    height, width = spec.network_size or (0, 0)
    wanted = {**asdict(spec.sampling), **asdict(spec), "network_size": (width, height)}
    wanted["model"] = str(spec.model)
    found = {each.name: wanted[each.name] for each in SPECS if each.name in wanted}
    for each in SPECS:
        if each.name in found and (problem := each.problem(found[each.name])):
            raise ValueError(f"the node refuses this: {problem}")
    return found


class NodeParameters(DeclaredParameters, ParameterValues):
    """The declared parameters of a segmenter; see `DeclaredParameters`."""

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        super().__init__(node, SPECS, is_unconfigured)

    def snapshot(self) -> ParameterValues:
        """The values as they are now, for what must not see later ones."""
        return ParameterValues(self._values)
