"""What is built appears whole or not at all, once for all who want it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tierwise_lab import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERWISE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_failed_build_leaves_nothing(folder: Path) -> None:
    def half(place: Path) -> None:
        (place / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cache.entry("image", "key", half)
    assert not list(folder.glob("image-*"))


def test_many_who_want_the_same_get_one(folder: Path) -> None:
    built: list[Path] = []

    def make(place: Path) -> None:
        built.append(place)
        (place / "it").touch()

    with ThreadPoolExecutor(8) as pool:
        places = set(pool.map(lambda _: cache.entry("image", "key", make), range(16)))
    assert len(built) == 1
    assert places == {folder / "image-key"}
    assert (folder / "image-key" / "it").exists()


def test_the_oldest_and_the_half_made_are_removed(folder: Path) -> None:
    (folder / "image-making-of-a-killed-process").mkdir(parents=True)
    kept = [cache.entry("image", f"key{number}", lambda place: None) for number in range(4)][-cache.KEPT["image"] :]
    assert sorted(path for path in folder.iterdir() if path.is_dir()) == kept


def test_a_changed_input_changes_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a")
    before = cache.hash_of(["x"], [file], tmp_path)
    assert before == cache.hash_of(["x"], [file], tmp_path)
    assert before != cache.hash_of(["y"], [file], tmp_path)
    file.chmod(0o755)
    executable = cache.hash_of(["x"], [file], tmp_path)
    file.write_text("b")
    assert len({before, executable, cache.hash_of(["x"], [file], tmp_path)}) == 3
