"""Blocks of ARM instructions as the emulator's plug-in writes them: benchmarks/arm/blocks.py."""

import importlib.util
import struct
import sys
from pathlib import Path

import pytest

ADD, BRANCH = struct.pack("<I", 0x8B000000), struct.pack("<I", 0x54000001)  # add x0, x0, x0; b.ne .


@pytest.fixture(scope="module")
def blocks():
    path = Path(__file__).parent.parent / "benchmarks" / "arm" / "blocks.py"
    spec = importlib.util.spec_from_file_location("arm_blocks", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def write(path, *rows):
    """`rows` are of runs, address and code."""
    lines = [f"{runs}\t{len(code) // 4}\t{address:x}\t{code.hex()}\n" for runs, address, code in rows]
    path.write_text("".join(lines))
    return path


def test_blocks_cut_at_the_end_of_a_page_are_whole_again(blocks, tmp_path):
    """A loop of four instructions, two on each page, which is also entered at its third."""
    path = write(tmp_path / "counts", (10, 0x1FF8, ADD * 2), (13, 0x2000, ADD + BRANCH))
    read = blocks.read_blocks(path)
    assert [(block.runs, block.code) for block in read] == [(10, ADD * 3 + BRANCH), (3, ADD + BRANCH)]


def test_blocks_that_end_with_a_branch_stay_apart(blocks, tmp_path):
    path = write(tmp_path / "counts", (10, 0x1FF8, ADD + BRANCH), (13, 0x2000, ADD + BRANCH))
    assert [(block.runs, block.code) for block in blocks.read_blocks(path)] == [(23, ADD + BRANCH)]


def test_no_instruction_is_lost_or_counted_twice(blocks, tmp_path):
    rows = [(5, 0x0FFC, ADD), (4, 0x1000, ADD * 2), (9, 0x1000, ADD * 3), (2, 0x1008, BRANCH)]
    read = blocks.read_blocks(write(tmp_path / "counts", *rows))
    assert sum(block.executed for block in read) == sum(runs * len(code) // 4 for runs, _, code in rows)


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("fmla\tv0.4s, v1.4s, v2.s[0]", 4),
        ("smull\tv0.8h, v1.8b, v2.8b", 8),
        ("smlal2\tv0.4s, v1.8h, v2.8h", 4),
        ("sdot\tv0.4s, v1.16b, v2.16b", 16),
        ("smmla\tv0.4s, v1.16b, v2.16b", 32),
        ("smull\tx0, w1, w2", 0),
        ("sadalp\tv0.4s, v1.8h", 0),
    ],
)
def test_products_of_an_instruction(blocks, text, macs):
    assert blocks.macs_of(text) == macs
