"""Label sets: the classes of a data set with their names and colours, from YAML."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import yaml

from camss_ros.images.label_class import VOID, LabelClass
from camss_ros.resources import config_file

FileContent: TypeAlias = Literal["ids", "colors"]


class LabelSetError(ValueError):
    """A label set can't be found, or its file says something else than a label set."""


class NoMappingError(LabelSetError):
    """Classes of one label set can't be expressed in those of the other."""


@dataclass(frozen=True)
class LabelSet:
    """The classes 0 .. n - 1 of a data set.

    Attributes:
        name: of the set, such as "camvid11".
        classes: in order of their ids.
        void_color: RGB 0-255 of pixels without a class.
        void_values: values that mean "no class" in label files.
        label_files: what label files hold: class ids, or the classes' colours.
        mappings: by the name of another label set, the other's class for each class of this one,
            by name; None where the other set has no such class.
        sources: the other way round: by the name of another set, this one's class for each class
            of the other; what is left out becomes void.
        candidates: by the name of a finer label set, the classes there that each class of this one
            may be; what is left out is as in `mappings`.
    """

    name: str
    classes: tuple[LabelClass, ...]
    void_color: tuple[int, int, int] = (0, 0, 0)
    void_values: tuple[int, ...] = (VOID,)
    label_files: FileContent = "ids"
    mappings: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict, hash=False)
    sources: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict, hash=False)
    candidates: Mapping[str, Mapping[str, tuple[str, ...]]] = field(
        default_factory=dict, hash=False
    )

    @property
    def sha256(self) -> str:
        """Of all of it: another one where its file says something else."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def palette(self) -> np.ndarray:
        """uint8 [256, 3] RGB: `palette()[labels]` colours a label image; void where no class is."""
        table = np.full((256, 3), self.void_color, np.uint8)
        for label_class in self.classes:
            table[label_class.id] = label_class.color
        return table

    def from_file_values(self) -> np.ndarray:
        """int16 [256]: class id of each value in a label file, 255 for void, -1 if unknown."""
        table = np.full(256, -1, np.int16)
        table[list(self.void_values)] = VOID
        for label_class in self.classes:
            table[label_class.id] = label_class.id
        return table

    def to(self, other: LabelSet) -> np.ndarray:
        """uint8 [256]: the class id in `other` of each class id of this set, 255 where it has none.

        Sets of the same class names need no mapping.

        Raises:
            NoMappingError: the two have none.
            LabelSetError: it maps onto a class that `other` does not have.
        """
        ids = {label_class.name: label_class.id for label_class in other.classes}
        declared = other.sources.get(self.name) or self.mappings.get(other.name)
        if declared is None and ids.keys() != {one.name for one in self.classes}:
            known = ", ".join(self.mappings) or "none"
            raise NoMappingError(
                f"label set {self.name} has no mapping onto {other.name}, which has other classes; "
                f"it has: {known}; expected mappings.{other.name} in its file, or "
                f"sources.{self.name} in that of {other.name}"
            )
        mapping: Mapping[str, str | None] = declared or {name: name for name in ids}
        table = np.full(256, VOID, np.uint8)
        for label_class in self.classes:
            name = mapping.get(label_class.name)
            if name is not None and name not in ids:
                raise LabelSetError(
                    f"label set {self.name} maps {label_class.name!r} onto {name!r}, "
                    f"which {other.name} does not have"
                )
            if name is not None:
                table[label_class.id] = ids[name]
        return table

    def candidates_in(self, other: LabelSet) -> tuple[tuple[int, ...], ...]:
        """For each class of this set the ids of the classes of `other` that it may be; () for none.

        Raises:
            LabelSetError: the two have no mapping, or it names a class that `other` does not have.
        """
        several = self.candidates.get(other.name, {})
        ids = {label_class.name: label_class.id for label_class in other.classes}
        unknown = sorted({name for names in several.values() for name in names} - set(ids))
        if unknown:
            raise LabelSetError(
                f"label set {self.name} has candidates {unknown}, which {other.name} does not have"
            )
        single = None
        if any(label_class.name not in several for label_class in self.classes):
            single = self.to(other)
        found = []
        for label_class in self.classes:
            if single is None or label_class.name in several:
                found.append(tuple(ids[name] for name in several[label_class.name]))
            else:
                target = int(single[label_class.id])
                found.append(() if target == VOID else (target,))
        return tuple(found)


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """The label set of a name (a file in `config/label_sets`) or of a YAML file.

    Raises:
        LabelSetError: there is none, or an entry is wrong, which is named.
    """
    path = Path(name_or_path)
    if not is_label_set_file(path):
        try:
            path = config_file(f"label_sets/{name_or_path}.yaml")
        except FileNotFoundError as error:
            raise LabelSetError(
                f"no label set named {str(name_or_path)!r} nor a .yaml file: {error}"
            ) from None
    try:
        return _parse(path.read_text(encoding="utf-8"), path.stem)
    except OSError as error:
        raise LabelSetError(f"can't read label set {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LabelSetError(f"label set {path} is not YAML: {error}") from error
    except LabelSetError as error:
        raise LabelSetError(f"label set {path}: {error}") from None


def is_label_set_file(name_or_path: str | Path) -> bool:
    """Whether `load_label_set` takes it for the path of a file, not for a name."""
    return Path(name_or_path).suffix in (".yaml", ".yml")


def save_label_set(label_set: LabelSet, path: Path) -> None:
    """Write the YAML of a label set for label files of ids, with 255 for void.

    Raises:
        OSError: it can't be written.
    """
    content: dict[str, Any] = {
        "name": label_set.name,
        "classes": [
            {"id": one.id, "name": one.name, "color": list(one.color)} for one in label_set.classes
        ],
        "void": {"color": list(label_set.void_color), "file_values": [VOID]},
    }
    for kind in ("mappings", "sources", "candidates"):
        if others := getattr(label_set, kind):
            content[kind] = {
                other: {name: list(it) if isinstance(it, tuple) else it for name, it in of.items()}
                for other, of in others.items()
            }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    path.write_text(text, encoding="utf-8")


@lru_cache  # all of them are read wherever that of a model is looked for
def _parse(text: str, name: str) -> LabelSet:
    """The label set that a file describes; `name` where it has none. Raises LabelSetError."""
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or not isinstance(content.get("classes"), list):
        raise LabelSetError("expected a mapping with a list `classes`")
    entries = content["classes"]
    if not 1 <= len(entries) < VOID:
        raise LabelSetError(f"expected 1 to {VOID - 1} classes")
    classes = tuple(_parse_class(entry, i) for i, entry in enumerate(entries))
    names = [label_class.name for label_class in classes]
    for name_of_class in names:
        if names.count(name_of_class) > 1:
            raise LabelSetError(f"class name {name_of_class!r} is there twice")
    void = content.get("void", {})
    if not isinstance(void, dict):
        raise LabelSetError("expected `void` to be a mapping")
    values = void.get("file_values", [VOID])
    if not isinstance(values, list) or not all(_is_byte(v) and v >= len(classes) for v in values):
        raise LabelSetError(
            f"void.file_values is {values!r}, expected a list of numbers from {len(classes)} to "
            f"{VOID}"
        )
    return LabelSet(
        name=str(content.get("name", name)),
        classes=classes,
        void_color=_parse_color(void.get("color", [0, 0, 0]), "void"),
        void_values=tuple(values),
        label_files=_parse_label_files(content.get("label_files", "ids"), classes),
        mappings=_parse_mappings(_by_label_set(content, "mappings"), names),
        sources=_parse_sources(_by_label_set(content, "sources"), names),
        candidates=_parse_candidates(_by_label_set(content, "candidates"), names),
    )


def _by_label_set(content: dict[str, Any], key: str) -> Any:
    """The entry `key`, by names of label sets, of which one may look like a number."""
    entry = content.get(key, {})
    return {str(name): it for name, it in entry.items()} if isinstance(entry, dict) else entry


def _parse_label_files(content: Any, classes: tuple[LabelClass, ...]) -> FileContent:
    if content not in ("ids", "colors"):
        raise LabelSetError(f"label_files is {content!r}, expected ids or colors")
    colors = [label_class.color for label_class in classes]
    for color in colors if content == "colors" else ():
        if colors.count(color) > 1:
            raise LabelSetError(
                "with `label_files: colors` each class has a colour of its own, but "
                f"{list(color)} is there twice"
            )
    return content


def _parse_mappings(content: Any, names: list[str]) -> dict[str, dict[str, str | None]]:
    if not isinstance(content, dict):
        raise LabelSetError("expected `mappings` to be a mapping")
    for target, mapping in content.items():
        place = f"mappings.{target}"
        if not isinstance(mapping, dict):
            raise LabelSetError(f"{place}: expected a class of {target}, or null, for each class")
        missing = [name for name in names if name not in mapping]
        unknown = [str(name) for name in mapping if name not in names]
        if missing or unknown:
            raise LabelSetError(
                f"{place}: expected each class once; missing: {', '.join(missing) or 'none'}; "
                f"unknown: {', '.join(unknown) or 'none'}"
            )
        for name, other in mapping.items():
            if other is not None and not isinstance(other, str):
                raise LabelSetError(f"{place}.{name} is {other!r}, expected a class name or null")
    return content


def _check_mappings(content: Any, key: str, expected: str) -> None:
    if not isinstance(content, dict) or not all(isinstance(m, dict) for m in content.values()):
        raise LabelSetError(f"{key}: expected, by label set, {expected}")


def _parse_sources(content: Any, names: list[str]) -> dict[str, dict[str, str | None]]:
    _check_mappings(content, "sources", "one of these classes for each class")
    for source, mapping in content.items():
        for other, name in mapping.items():
            if name is not None and name not in names:
                raise LabelSetError(f"sources.{source}.{other} is {name!r}, which is no class here")
    return content


def _parse_candidates(content: Any, names: list[str]) -> dict[str, dict[str, tuple[str, ...]]]:
    _check_mappings(content, "candidates", "a list of its classes for a class")
    for target, mapping in content.items():
        for name, others in mapping.items():
            place = f"candidates.{target}"
            if name not in names:
                raise LabelSetError(f"{place}: {name!r} is no class here")
            if not isinstance(others, list) or not all(isinstance(it, str) for it in others):
                raise LabelSetError(f"{place}.{name} is {others!r}, expected a list of class names")
    # one that is there twice would count twice
    return {
        t: {name: tuple(dict.fromkeys(it)) for name, it in m.items()} for t, m in content.items()
    }


def _parse_class(entry: Any, number: int) -> LabelClass:
    place = f"class {number}"
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise LabelSetError(f"{place}: expected a mapping with `id`, `name` and `color`")
    if entry.get("id") != number:
        raise LabelSetError(
            f"{place} ({entry['name']}) has id {entry.get('id')!r}: "
            "expected ids 0, 1, 2, ... in order"
        )
    return LabelClass(number, entry["name"], _parse_color(entry.get("color"), place))


def _parse_color(color: Any, place: str) -> tuple[int, int, int]:
    if not isinstance(color, list) or len(color) != 3 or not all(map(_is_byte, color)):
        raise LabelSetError(f"{place}: color is {color!r}, expected [red, green, blue], 0 to 255")
    red, green, blue = color
    return red, green, blue


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255
