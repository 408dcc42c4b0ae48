"""Where the files of `config/` are: in a checkout, after pip and in a colcon install space."""

from __future__ import annotations

from pathlib import Path

_SHARE = Path("share") / "camss_ros" / "config"


def config_directories(package: Path | None = None) -> tuple[Path, ...]:
    """Directories in which `config/` may be, in order of preference.

    package: directory of the Python package, by default this one's. A checkout has `config/`
    beside it; pip (data files) and colcon put it into `share/camss_ros/config` of the prefix whose
    `lib/.../site-packages` holds the package, pip with --target beside it.
    """
    package = Path(__file__).parent if package is None else package
    return (package.parent / "config", *(parent / _SHARE for parent in package.parents))


def config_file(name: str, package: Path | None = None) -> Path:
    """Path of the configuration file `name`, such as "label_sets/camvid11.yaml".

    Raises FileNotFoundError that names what is there instead, or lists where it was looked for.
    """
    candidates = [directory / name for directory in config_directories(package)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    for candidate in candidates:
        if others := sorted(path.stem for path in candidate.parent.glob(f"*{candidate.suffix}")):
            raise FileNotFoundError(f"{candidate} is not there, but {', '.join(others)}")
    places = "\n  ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(f"configuration file {name} not found; looked for\n  {places}")
