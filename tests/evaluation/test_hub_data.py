"""Data sets from a hub that runs inside the test."""

import os
import subprocess
import sys

from evaluation.test_splits import write_parquet
from stub_hub import address


def load_elsewhere(source, cache, endpoint):
    """In a process of its own, because the client reads its settings when it is imported."""
    code = """
import sys
from mobilevit_fast.evaluation import load_splits
try:
    splits = load_splits(sys.argv[1])
except (FileNotFoundError, ValueError) as error:
    print("refused:", error)
else:
    print(splits.training.names, len(splits.training.images), len(splits.validation.images))
"""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", code, source]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_parquet_files_are_fetched_and_nothing_else(hub, tmp_path):
    write_parquet(tmp_path / "remote" / "train.parquet", [0, 1, 1])
    write_parquet(tmp_path / "remote" / "test.parquet", [0])
    (tmp_path / "remote" / "README.md").write_text("not needed")
    hub.repositories["org/insects"] = tmp_path / "remote"
    said = load_elsewhere("org/insects", tmp_path / "cache", address(hub))
    assert said == "('ant', 'bee') 3 1"
    assert sorted(hub.fetched) == ["test.parquet", "train.parquet"]


def test_what_the_hub_does_not_have_is_refused_in_one_sentence(hub, tmp_path):
    said = load_elsewhere("org/absent", tmp_path / "cache", address(hub))
    assert said.startswith(
        "refused: 'org/absent' is no file or folder here, and no data set of parquet files"
    )
