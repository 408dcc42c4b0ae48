"""Every parameter of the node: type, range, default, description, and when it may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from camss_ros.nodes.qos import PROFILES
from camss_ros.nodes.segmenter.parameter_checks import (
    camera_names,
    camera_names_problem,
    device_problem,
    model_problem,
    network_size_problem,
)

if TYPE_CHECKING:
    from camss_ros.inference.spec import SegmenterSpec
    from camss_ros.model.schedule import SamplingOptions


class Change(Enum):
    """When a parameter may change."""

    NEVER = "cannot change while the node runs"
    RELOAD = "takes effect when a model is loaded: at configuration or by ~/reload_model"
    UNCONFIGURED = "changes only while the node is unconfigured: clean it up first"
    ALWAYS = "may change at any time"


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter. `default` fixes the type, and the length of an array of numbers; `bounds` are
    inclusive; `check` tells why a value is refused."""

    name: str
    default: bool | int | float | str | tuple[int, ...] | tuple[str, ...]
    description: str
    change: Change
    choices: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    check: Callable[[Any], str] | None = None

    def descriptor(self) -> ParameterDescriptor:
        """The description for `ros2 param describe`, with ranges that rclpy enforces."""
        descriptor = ParameterDescriptor(
            name=self.name,
            type=Parameter.Type.from_parameter_value(self.initial()).value,
            description=self.description,
            additional_constraints=f"one of: {', '.join(self.choices)}" if self.choices else "",
            read_only=self.change is Change.NEVER,
        )
        if self.bounds is not None and not isinstance(self.default, tuple):
            low, high = self.bounds
            if isinstance(self.default, float):
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(low), to_value=float(high))
                ]
            else:
                descriptor.integer_range = [
                    IntegerRange(from_value=int(low), to_value=int(high), step=1)
                ]
        return descriptor

    def initial(self) -> bool | int | float | str | list[Any]:
        """The default as rclpy takes it."""
        return list(self.default) if isinstance(self.default, tuple) else self.default

    def type_name(self) -> str:
        """The type, as `ros2 param describe` has it."""
        return Parameter.Type.from_parameter_value(self.initial()).name.lower().replace("_", " ")

    def problem(self, value: Any) -> str:
        """Why a value of the right type is refused; empty if it is not."""
        if self.check is not None and (problem := self.check(value)):
            return f"{self.name} {problem}"
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not {value!r}"
        if self.bounds is not None:
            low, high = self.bounds
            if not isinstance(self.default, tuple):
                in_range = low <= value <= high
                return "" if in_range else f"{self.name} must be from {low} to {high}, not {value}"
            if len(value) != len(self.default) or not all(low <= v <= high for v in value):
                return (
                    f"{self.name} must be {len(self.default)} numbers from {low} to {high}, "
                    f"not {list(value)}"
                )
        return ""


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
        "guard",
        "",
        "File of `camss-ros guard`: a model or graph that falls below the IoU of a class on its "
        "frames is not loaded, and the one in use stays. Empty: none.",
        Change.RELOAD,
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
    ParameterSpec(
        "warn_drift",
        1.0,
        "How unlike the training frames the images of the last seconds are (1: the 99th percentile "
        "of those), for WARN in /diagnostics. 0: never.",
        Change.ALWAYS,
        bounds=(0.0, 1000.0),
    ),
)


class ParameterValues:
    """Values of all parameters at a moment; they do not change."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

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


class NodeParameters(ParameterValues):
    """The declared parameters of a node and their accepted values, as they are now.

    `is_unconfigured` tells whether parameters of `Change.UNCONFIGURED` may change now. A value
    that is refused leaves all values as they were, and the setter gets the reason.

    Raises:
        rclpy.exceptions.ParameterException: a value given at start is of a wrong type or refused.
    """

    def __init__(self, node: Node, is_unconfigured: Callable[[], bool]) -> None:
        super().__init__({spec.name: spec.initial() for spec in SPECS})
        self._specs = {spec.name: spec for spec in SPECS}
        self._is_unconfigured = is_unconfigured
        node.add_on_set_parameters_callback(self._on_set)
        for spec in SPECS:
            node.declare_parameter(spec.name, spec.initial(), spec.descriptor())

    def snapshot(self) -> ParameterValues:
        """The values as they are now, for what must not see later ones."""
        return ParameterValues(self._values)

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        # rclpy has checked types, ranges and read-only parameters before this.
        accepted = {p.name: p.value for p in parameters if p.name in self._specs}
        for name, value in accepted.items():
            spec = self._specs[name]
            if problem := spec.problem(value):
                return _refused(problem)
            if spec.change is Change.UNCONFIGURED and not self._is_unconfigured():
                return _refused(f"{name} {spec.change.value}")
        # One assignment: the inference thread sees all of the new values or none.
        self._values = {**self._values, **accepted}
        return SetParametersResult(successful=True)


def _refused(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)
