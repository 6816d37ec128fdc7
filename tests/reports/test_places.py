"""What a user names to be written is never replaced unless it is a file."""

import os
from pathlib import Path

import pytest

from marl.cluster.runs.prepare import demand_writable
from marl.cluster.runs.render import render_episode
from marl.errors import ConfigError
from marl.reports.places import demand_file, demand_folder
from marl.reports.plots.draw import demand_picture


def test_a_file_and_a_new_name_are_places_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_text("an older one")
    for name in ("there.png", "new.png"):
        demand_file(tmp_path / name, "--out")
        demand_writable(tmp_path / name)
        demand_picture(tmp_path / name, "--picture")
    demand_folder(tmp_path, "--video")
    demand_folder(tmp_path / "new", "--video")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are none here")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("link", "link.png: it is a symbolic link: name another file"),
        ("broken", "broken.png: it is a symbolic link: name another file"),
        ("fifo", "fifo.png: it is no regular file: name another file"),
        ("folder", "folder.png is a folder"),
    ],
)
def test_what_is_no_file_is_refused_and_stays(kind: str, words: str, tmp_path: Path) -> None:
    place, own = tmp_path / f"{kind}.png", tmp_path / "own.png"
    own.write_text("mine")
    match kind:
        case "link":
            place.symlink_to(own)
        case "broken":
            place.symlink_to(tmp_path / "gone")
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
    for demand in (demand_writable, lambda path: demand_picture(path, "--out")):
        with pytest.raises(ConfigError, match=f"^--out: expected a file to write, .*{words}$"):
            demand(place)


@pytest.mark.skipif(not Path("/dev/null").is_char_device(), reason="there is none here")
def test_a_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="/dev/null: it is no regular file: name another file"):
        demand_writable(Path("/dev/null"))


def test_a_video_goes_to_a_folder(tmp_path: Path) -> None:
    """Said before anything else is looked at."""
    (tmp_path / "film").write_text("mine")
    with pytest.raises(ConfigError, match=r"^--video: expected a folder to write to, .*film is none: name another$"):
        render_episode("no weights.pt", seed=0, greedy=True, video=str(tmp_path / "film"))
