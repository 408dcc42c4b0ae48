"""Label sets and where they are found."""

import copy
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from camss_ros.images.label_sets import (
    LabelSetError,
    NoMappingError,
    load_label_set,
    save_label_set,
)
from camss_ros.resources import config_file


def test_camvid():
    camvid = load_label_set("camvid11")
    assert [c.name for c in camvid.classes] == [
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
        "pedestrian", "bicyclist",
    ]  # fmt: skip
    assert camvid.classes[10].color == (0, 128, 192)
    values = camvid.from_file_values()
    assert values[3] == 3
    assert values[11] == values[255] == 255
    assert values[12] == -1


def test_cityscapes_has_20_colours_with_void():
    cityscapes = load_label_set("cityscapes19")
    palette = cityscapes.palette()
    assert len(cityscapes.classes) == 19
    assert len(np.unique(palette, axis=0)) == 20
    assert palette[255].tolist() == [0, 0, 0]
    assert palette[13].tolist() == [0, 0, 142]


def test_palette_colours_a_label_image():
    palette = load_label_set("camvid11").palette()
    colored = palette[np.array([[3, 255]], np.uint8)]
    assert colored.dtype == np.uint8
    assert colored.tolist() == [[[128, 64, 128], [0, 0, 0]]]


def test_own_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("classes:\n  - {id: 0, name: road, color: [1, 2, 3]}\n")
    mine = load_label_set(path)
    assert mine.name == "mine"
    assert mine.classes[0].color == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "classes"),
        ("classes: []", "1 to 254"),
        ("classes: [{id: 1, name: a, color: [0, 0, 0]}]", "class 0 .* id 1"),
        ("classes: [{id: 0, name: a, color: [0, 0, 300]}]", "300"),
        ("classes: [{id: 0, color: [0, 0, 3]}]", "class 0"),
        (
            "classes: [{id: 0, name: a, color: [0, 0, 0]}, {id: 1, name: a, color: [0, 0, 0]}]",
            "'a' is there twice",
        ),
        ("classes: [{id: 0, name: a, color: [0, 0, 0]}]\nvoid: {file_values: [0]}", "file_values"),
        (
            "classes: [{id: 0, name: a, color: [0, 0, 0]}]\nlabel_files: grey",
            "label_files is 'grey'",
        ),
        (
            "classes: [{id: 0, name: a, color: [9, 0, 0]}, {id: 1, name: b, color: [9, 0, 0]}]\n"
            "label_files: colors",
            r"\[9, 0, 0\] is there twice",
        ),
        ("classes: [{", "not YAML"),
        ("classes: [{id: 0, name: a, color: [0, 0, 0]}]\nmappings: []", "`mappings`"),
        ("classes: [{id: 0, name: a, color: [0, 0, 0]}]\nmappings: {b: [c]}", "mappings.b"),
        (
            "classes: [{id: 0, name: a, color: [0, 0, 0]}]\nmappings: {b: {c: d}}",
            "mappings.b: .*missing: a; unknown: c",
        ),
        ("classes: [{id: 0, name: a, color: [0, 0, 0]}]\nmappings: {b: {a: 3}}", "mappings.b.a"),
    ],
)
def test_wrong_files_are_refused_with_the_place(tmp_path, text, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(LabelSetError, match=f"(?s)wrong.yaml.*{message}"):
        load_label_set(path)


WHOLE = {
    "name": "own",
    "label_files": "ids",
    "classes": [
        {"id": 0, "name": "thing", "color": [1, 2, 3]},
        {"id": 1, "name": "road", "color": [4, 5, 6]},
    ],
    "void": {"color": [0, 0, 0], "file_values": [9, 255]},
    "mappings": {"cityscapes19": {"thing": None, "road": "road"}},
    "sources": {"cityscapes19": {"road": "road", "car": "thing"}},
    "candidates": {"cityscapes19": {"thing": ["car", "bus"]}},
}


def entries(content, place=()):
    """The places of all that is in it."""
    keys = content if isinstance(content, dict) else range(len(content))
    for key in keys:
        yield (*place, key)
        if isinstance(content[key], dict | list):
            yield from entries(content[key], (*place, key))


@given(
    place=st.sampled_from(list(entries(WHOLE))),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-1, 256) | st.floats() | st.dates() | st.text("ar"),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ar"), inner),
        max_leaves=4,
    ),
)
def test_any_entry_is_used_or_refused(place, value):
    content = copy.deepcopy(WHOLE)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own.yaml"
        path.write_text(yaml.safe_dump(content))
        with suppress(LabelSetError):
            own = load_label_set(path)
            assert own.palette().shape == (256, 3)
            assert set(own.from_file_values().tolist()) <= {-1, 0, 1, 255}
            own.candidates_in(load_label_set("cityscapes19"))


def test_the_name_of_a_label_set_may_look_like_a_number(tmp_path):
    (tmp_path / "2015.yaml").write_text("classes: [{id: 0, name: free, color: [1, 2, 3]}]")
    (tmp_path / "own.yaml").write_text(
        "classes: [{id: 0, name: road, color: [1, 2, 3]}]\nmappings: {2015: {road: free}}"
    )
    own, other = (load_label_set(tmp_path / f"{name}.yaml") for name in ("own", "2015"))
    assert own.to(other)[0] == 0
    with pytest.raises(NoMappingError, match="it has: 2015"):
        own.to(load_label_set("camvid11"))


ALL = sorted(path.stem for path in config_file("label_sets/camvid11.yaml").parent.glob("*.yaml"))


@pytest.mark.parametrize("name", ALL)
def test_every_mapping_leads_to_classes_of_its_target(name):
    label_set = load_label_set(name)
    assert label_set.name == name
    np.testing.assert_array_equal(label_set.to(label_set)[: len(label_set.classes)],
                                  np.arange(len(label_set.classes)))  # fmt: skip
    for other in label_set.mappings:
        target = load_label_set(other)
        table = label_set.to(target)
        assert table[255] == 255
        assert set(table.tolist()) <= {*range(len(target.classes)), 255}


@pytest.mark.parametrize("name", ALL)
def test_what_is_saved_is_read_again(tmp_path, name):
    label_set = replace(load_label_set(name), void_color=(1, 2, 255))
    save_label_set(label_set, tmp_path / "saved.yaml")
    expected = replace(label_set, void_values=(255,), label_files="ids")
    assert load_label_set(tmp_path / "saved.yaml") == expected


def test_mappings_between_camvid_cityscapes_and_autoware():
    camvid, cityscapes, autoware = map(load_label_set, ("camvid11", "cityscapes19", "autoware16"))

    def mapped(one, other):
        table = one.to(other)
        names = {c.id: c.name for c in other.classes}
        return {c.name: names.get(int(table[c.id])) for c in one.classes}

    there, back = mapped(camvid, cityscapes), mapped(cityscapes, camvid)
    assert there.pop("bicyclist") is None  # Cityscapes tells rider and bicycle apart
    assert all(back[other] == name for name, other in there.items())
    assert back["rider"] == back["bicycle"] == "bicyclist"
    assert [c.name for c in autoware.classes][6:11] == [
        "person", "vehicle", "bike", "road", "sidewalk",
    ]  # fmt: skip
    assert None not in mapped(camvid, autoware).values()
    assert None not in mapped(cityscapes, autoware).values()
    with pytest.raises(LabelSetError, match=r"autoware16 has no mapping onto camvid11, .*none"):
        autoware.to(camvid)
    # a name says nothing of the classes: files without one are all called as their file
    renamed = replace(camvid, classes=(replace(camvid.classes[0], name="air"), *camvid.classes[1:]))
    with pytest.raises(NoMappingError, match="camvid11, which has other classes"):
        camvid.to(renamed)


def test_cityscapes_label_ids_become_train_ids():
    table = load_label_set("cityscapes34").to(load_label_set("cityscapes19"))
    train_ids = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10,
                 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}  # fmt: skip
    assert {i: int(table[i]) for i in range(256) if table[i] != 255} == train_ids


def test_a_mapping_onto_a_class_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "classes: [{id: 0, name: tram, color: [1, 2, 3]}]\nmappings: {camvid11: {tram: trolley}}"
    )
    with pytest.raises(LabelSetError, match="mine maps 'tram' onto 'trolley', which camvid11"):
        load_label_set(path).to(load_label_set("camvid11"))


def test_an_unknown_name_tells_which_there_are():
    known = r"no label set named 'mars' .*/mars.yaml is not there, but autoware16, .*idd_lite$"
    with pytest.raises(LabelSetError, match=known):
        load_label_set("mars")
    with pytest.raises(LabelSetError, match=r"can't read .*none.yaml"):
        load_label_set("/no/where/none.yaml")


@pytest.mark.parametrize(
    ("package", "config"),
    [
        ("src/camss_ros/camss_ros", "src/camss_ros/config"),
        ("venv/lib/python3.11/site-packages/camss_ros", "venv/share/camss_ros/config"),
        ("install/camss_ros/lib/python3.12/site-packages/camss_ros",
         "install/camss_ros/share/camss_ros/config"),
        ("opt/local/lib/python3.10/dist-packages/camss_ros", "opt/share/camss_ros/config"),
        ("target/camss_ros", "target/share/camss_ros/config"),
    ],
)  # fmt: skip
def test_config_is_found_in_a_checkout_after_pip_and_after_colcon(tmp_path, package, config):
    (tmp_path / package).mkdir(parents=True)
    (tmp_path / config).mkdir(parents=True)
    expected = tmp_path / config / "some.yaml"
    expected.write_text("")
    assert config_file("some.yaml", tmp_path / package) == expected
    with pytest.raises(FileNotFoundError, match=r"other\.yaml"):
        config_file("other.yaml", tmp_path / package)
