"""Configurations of trainings as YAML files with overrides."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from camss_ros.model.strict_decode import decode
from camss_ros.resources import config_file
from camss_ros.training.config import AnyConfig, AutoencoderConfig, Config


class ConfigError(ValueError):
    """A training configuration can't be read; the message names the file and the entry."""


def load_config(kind: type[Config], path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        kind: which training it is for.
        path: YAML file, or the name of one in `config/train` such as "camss_tiny_camvid".
        overrides: "dotted.path=value" each, the value in YAML, applied one after the other.

    Raises:
        ConfigError: no such file, not YAML, or an entry that is missing, unknown or of another
            type, which is named.
    """
    if not path.is_file() and len(path.parts) == 1 and path.suffix == "":
        try:
            path = config_file(f"train/{path}.yaml")
        except FileNotFoundError as error:
            raise ConfigError(f"no configuration named {str(path)!r}: {error}") from error
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if isinstance(values, dict):
        for each in overrides:
            _apply(each, values)
        if kind is not AutoencoderConfig and isinstance(model := values.get("model"), dict):
            model.setdefault("label_set", [])
    try:
        return decode(kind, values)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def config_text(config: AnyConfig) -> str:
    """The configuration in full as YAML that `load_config` reads back."""
    plain = json.loads(json.dumps(dataclasses.asdict(config)))  # lists in place of tuples
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False)


def override(entry: str, value: Any) -> str:
    """What `load_config` takes to replace an entry by a value."""
    return f"{entry}={yaml.dump(value, Dumper=_Dumper, default_flow_style=True)}"


def _apply(given: str, values: Any) -> None:
    path, equals, text = given.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {given}: expected dotted.path=value")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {given}: the value is not YAML: {error}") from error
    for depth, key in enumerate(keys):
        place: Any = key
        if isinstance(values, list) and key.isdecimal() and int(key) < len(values):
            place = int(key)
        elif not isinstance(values, dict):
            raise ConfigError(f"--set {given}: {'.'.join(keys[:depth])} has no entry {key}")
        if depth + 1 == len(keys):
            values[place] = value
        elif isinstance(values, dict) and values.get(place) is None:
            values[place] = {}
        values = values[place]


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as the number it is in YAML 1.2; YAML 1.1 wants 1.0e-4."""


class _Dumper(yaml.SafeDumper):
    """Puts a string into quotes that `_Loader` would take for a number."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
