"""Cycles that llvm-mca's model of a processor gives to blocks of instructions.

Two figures: what the execution ports allow (throughput) and what a block takes again and again, its results
awaited (latency). Caches always hit, branches are always predicted. The truth of a machine lies near or above
the first.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from blocks import Block

COVERED = 0.98
"""Share of the executed instructions that the model looks at; the rest is taken to be like it."""

_ITERATIONS = 50
_BRANCH = re.compile(r"\b(b\.\w+|b|bl|cbn?z|tbn?z)(\s.*?)#-?\w+$")


@dataclass(frozen=True)
class Cycles:
    throughput: float
    latency: float


def model_cycles(blocks: list[Block], processor: str) -> Cycles:
    """Of all blocks, the most executed first, on one of llvm's processors.

    Raises ValueError where the model leaves out more than a tenth.
    """
    executed = sum(block.executed for block in blocks)
    chosen, covered = [], 0
    for block in blocks:
        chosen.append(block)
        covered += block.executed
        if covered >= COVERED * executed:
            break
    found = _ask_llvm([_disassemble(block) for block in chosen], processor)
    known = [(block, *found[index]) for index, block in enumerate(chosen) if index in found]
    seen = sum(block.executed for block, *_ in known)
    if seen < 0.9 * covered:
        raise ValueError(f"llvm-mca knows {seen / covered:.0%} of these instructions on {processor}")
    whole = executed / seen
    return Cycles(
        whole * sum(block.runs * throughput for block, throughput, _ in known),
        whole * sum(block.runs * latency for block, _, latency in known),
    )


def _disassemble(block: Block) -> str:
    code = " ".join(f"0x{byte:02x}" for byte in block.code)
    command = ["llvm-mc-19", "--disassemble", "-triple=aarch64", "-mattr=+all"]
    listing = subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout
    lines = [line for line in listing.splitlines() if line.strip() and not line.strip().startswith(".")]
    # Targets of jumps are numbers here, which an assembler takes for labels that it lacks.
    return "\n".join(_BRANCH.sub(r"\1\2somewhere", line) for line in lines)


def _ask_llvm(listings: list[str], processor: str) -> dict[int, tuple[float, float]]:
    """Number of a listing -> its cycles by throughput and by latency, where the model knows it."""
    regions = [
        f"# LLVM-MCA-BEGIN r{index}\n{listing}\n# LLVM-MCA-END" for index, listing in enumerate(listings)
    ]
    command = ["llvm-mca-19", "-mtriple=aarch64", f"-mcpu={processor}", "-mattr=+all"]
    command += [f"-iterations={_ITERATIONS}", "-skip-unsupported-instructions=any"]
    command += ["-all-stats=0", "-all-views=0", "-summary-view", "-"]
    source = "\n".join([*regions, "somewhere:", ""])
    report = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    rows = re.findall(
        r"Code Region - r(\d+)\n.*?Total Cycles:\s+(\d+).*?Block RThroughput: ([\d.]+)", report, re.DOTALL
    )
    return {int(index): (float(ports), int(total) / _ITERATIONS) for index, total, ports in rows}
