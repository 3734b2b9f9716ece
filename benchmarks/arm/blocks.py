"""Blocks of ARM instructions and how often each ran, as count_blocks.c writes them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WORD = 4
"""Bytes of an instruction."""

_LANES = {"4s": 4, "2s": 2, "8h": 8, "4h": 4, "2d": 2}
_DOTS, _MATRICES = ("sdot", "udot", "usdot"), ("smmla", "ummla", "usmmla")


@dataclass(frozen=True)
class Block:
    runs: int
    code: bytes

    @property
    def instructions(self) -> int:
        return len(self.code) // WORD

    @property
    def executed(self) -> int:
        return self.runs * self.instructions

    def words(self) -> list[bytes]:
        return [self.code[at : at + WORD] for at in range(0, len(self.code), WORD)]


def read_blocks(path: Path) -> list[Block]:
    """The blocks of one region, those with the same code joined, the most executed first."""
    runs: Counter[bytes] = Counter()
    for line in path.read_text().splitlines():
        count, _, _, code = line.split("\t")
        runs[bytes.fromhex(code)] += int(count)
    blocks = [Block(count, code) for code, count in runs.items()]
    return sorted(blocks, key=lambda block: block.executed, reverse=True)


def disassemble(words: Iterable[bytes]) -> dict[bytes, str]:
    """Instruction -> its text. Needs the cross compiler's objdump."""
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"".join(words))
        file.flush()
        command = ["aarch64-linux-gnu-objdump", "-D", "-b", "binary", "-maarch64", file.name]
        listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*[0-9a-f]+:\s+([0-9a-f]{8})\s+(.*)$", listing, re.MULTILINE)
    return {bytes.fromhex(word)[::-1]: text.split("//")[0].strip() for word, text in found}


def macs_of(text: str) -> int:
    """Multiply-accumulates of one vector instruction; 0 for any other."""
    operation, _, operands = text.partition("\t")
    shape = re.match(r"v\d+\.(\w+)", operands)
    if operation in _DOTS:
        return 16 if shape and shape[1] == "4s" else 8
    if operation in _MATRICES:
        return 32
    if operation == "bfmmla":
        return 16
    if operation in ("fmla", "fmls") and shape:
        return _LANES.get(shape[1], 1)
    return 0


def count_macs(blocks: list[Block]) -> int:
    """Multiply-accumulates that the vector instructions of all blocks did."""
    texts = disassemble({word for block in blocks for word in block.words()})
    macs = {word: macs_of(text) for word, text in texts.items()}
    return sum(block.runs * sum(macs.get(word, 0) for word in block.words()) for block in blocks)
