"""Processes of one machine take CPUs that no other of them has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, tempfile
from mobilevit_fast.integrations.cpu_sets import CpuSet
tempfile.tempdir = sys.argv[1]
own = CpuSet(int(sys.argv[2]))
assert os.sched_getaffinity(0) == own.cpus
print(*own.cpus, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that takes a set of that size: (process, its CPUs)."""
    processes = []

    def begin(size):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process, {int(cpu) for cpu in process.stdout.readline().split()}

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_each_process_has_its_own_until_there_is_none_left(start):
    allowed = os.sched_getaffinity(0)
    taken = [start(1)[1] for _ in range(min(len(allowed), 3))]
    assert all(len(cpus) == 1 for cpus in taken)
    assert len(set.union(*taken)) == len(taken)
    if len(taken) == len(allowed):
        assert start(1)[1] == allowed


def test_sets_of_different_sizes_do_not_overlap(start):
    allowed = os.sched_getaffinity(0)
    if len(allowed) == 1:
        pytest.skip("one CPU has one set")
    start(len(allowed))
    assert start(1)[1] == allowed


def test_a_killed_process_gives_its_set_back(start):
    allowed = os.sched_getaffinity(0)
    first, cpus = start(len(allowed))
    assert cpus == allowed
    first.kill()
    first.wait()
    assert start(len(allowed))[1] == allowed


def test_a_set_larger_than_the_machine_is_all_of_it(start):
    assert start(10_000)[1] == os.sched_getaffinity(0)
