"""What is asked of a picture's file before the work whose outcome it shows."""

import sys

import pytest

from mobilevit_fast.pictures import check_picture, figure_class, save_picture

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_a_new_file_is_accepted(tmp_path, name):
    check_picture(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    (tmp_path / "old.png").touch()
    for path, error, message in (
        (tmp_path / "a.bmp", ValueError, r"must end in \.png or \.svg"),
        (tmp_path / "old.png", FileExistsError, "exists"),
        (tmp_path / "nowhere" / "a.png", FileNotFoundError, "there is no folder"),
    ):
        with pytest.raises(error, match=message):
            check_picture(path)


def test_without_matplotlib_the_error_says_how_to_add_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        figure_class()
    with pytest.raises(ImportError, match="pip install matplotlib"):
        check_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a"])
def test_a_picture_is_whole_or_not_there(tmp_path, name, monkeypatch):
    figure = figure_class()()
    save_picture(figure, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    assert whole.startswith(b"<?xml" if name == "a.svg" else b"\x89PNG")

    def break_off(path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(figure, "savefig", break_off)
    with pytest.raises(OSError, match="no space left"):
        save_picture(figure, tmp_path / name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {name: whole}
