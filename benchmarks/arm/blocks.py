"""Blocks of ARM instructions and how often each ran, as count_blocks.c writes them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

WORD = 4
"""Bytes of an instruction."""

_LANES = {"4s": 4, "2s": 2, "8h": 8, "4h": 4, "2d": 2}
_PRODUCTS = ("fmla", "fmls", "smull", "smull2", "smlal", "smlal2", "umull", "umull2", "umlal", "umlal2")
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
    rows = []
    for line in path.read_text().splitlines():
        count, _, address, code = line.split("\t")
        rows.append((int(address, 16), int(count), bytes.fromhex(code)))
    runs: Counter[bytes] = Counter()
    for count, code in _rejoin(rows):
        runs[code] += count
    blocks = [Block(count, code) for code, count in runs.items() if count]
    return sorted(blocks, key=lambda block: block.executed, reverse=True)


def _rejoin(rows: list[tuple[int, int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Runs and code of blocks of (address, runs, code), whole where a page's end cut them.

    A processor knows no such cut, and a model that is asked about the halves finds no work in one half that
    could go on beside the other's.
    """
    behind: dict[int, list] = {}  # address -> runs by themselves and code
    for address, runs, code in sorted(rows, reverse=True):
        rest = None if _is_branch(code[-WORD:]) else behind.get(address + len(code))
        if rest and rest[0] >= runs:
            rest[0] -= runs
            code += rest[1]
        if address in behind:  # translated twice
            yield runs, code
        else:
            behind[address] = [runs, code]
    yield from ((runs, code) for runs, code in behind.values())


def _is_branch(word: bytes) -> bool:
    """Of the group of branches, exceptions and system instructions (bits 28 to 26 are 101)."""
    return int.from_bytes(word, "little") >> 26 & 0b111 == 0b101


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
    if operation in _PRODUCTS and shape:
        return _LANES.get(shape[1], 1)
    return 0


def count_macs(blocks: list[Block]) -> int:
    """Multiply-accumulates that the vector instructions of all blocks did."""
    texts = disassemble({word for block in blocks for word in block.words()})
    macs = {word: macs_of(text) for word, text in texts.items()}
    return sum(block.runs * sum(macs.get(word, 0) for word in block.words()) for block in blocks)
