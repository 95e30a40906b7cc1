"""The folder of a study: nothing in it is replaced unasked, and two studies never share one."""

from pathlib import Path

import pytest

from tmtrain.errors import InputError
from tmtrain.evaluation.study_folder import study_folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "results.json").write_text("28 rows")
    (tmp_path / "report.html").write_text("a page")
    return tmp_path


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.json").write_text("a part")
    return tmp_path


def test_a_new_folder_is_made(tmp_path: Path) -> None:
    with study_folder(tmp_path / "a" / "b", resume=False, force=False):
        assert (tmp_path / "a" / "b").is_dir()
    assert not (tmp_path / "a" / "b").exists()  # nothing was left in it


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_study_stays(finished: Path, *, resume: bool) -> None:
    before = _files(finished)
    with (
        pytest.raises(InputError, match=r"results of an earlier study: .*--force"),
        study_folder(finished, resume=resume, force=False),
    ):
        pass
    assert _files(finished) == before


def test_forced_a_finished_study_stays_until_there_are_new_results(finished: Path) -> None:
    with study_folder(finished, resume=False, force=True):
        assert "results.json" in _files(finished)


def test_an_interrupted_study_is_resumed_or_begun_anew(interrupted: Path) -> None:
    with study_folder(interrupted, resume=True, force=False):
        assert "parts/one.json" in _files(interrupted)
    with study_folder(interrupted, resume=False, force=True):
        assert _files(interrupted) == {}


@pytest.mark.parametrize("force", [False, True])
def test_files_of_somebody_else_are_left_alone(tmp_path: Path, *, force: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(InputError, match=r"holds thesis\.tex and no study"),
        study_folder(tmp_path, resume=False, force=force),
    ):
        pass
    assert _files(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a letter")
    with (
        pytest.raises(InputError, match="is a file, and a study needs a folder"),
        study_folder(tmp_path / "out", resume=False, force=True),
    ):
        pass


def test_a_second_study_is_refused_while_the_first_works(tmp_path: Path) -> None:
    with (
        study_folder(tmp_path, resume=False, force=False),
        pytest.raises(InputError, match="another tmtrain evaluate works in"),
        study_folder(tmp_path, resume=True, force=True),
    ):
        pass
    with study_folder(tmp_path, resume=False, force=False):
        pass


def test_what_blocks_inside_is_not_taken_for_another_study(tmp_path: Path) -> None:
    with (
        pytest.raises(BlockingIOError, match="a pipe"),
        study_folder(tmp_path, resume=False, force=False),
    ):
        raise BlockingIOError("a pipe")
