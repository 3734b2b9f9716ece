"""Programs of torch.export, .pt2: torch alone runs them, in Python or compiled ahead of time.

With `keep_custom_ops` they hold this package's operations instead, and `import mobilevit_fast.ops` has to
come before they are loaded; before quantised ones, `import torch.ao.quantization.fx._decomposed`. Labels and
preprocessing lie in the archive, as the extra file `METADATA`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from mobilevit_fast.export.formats import Run
from mobilevit_fast.export.job import Job, quietly

METADATA = "metadata.json"


def write(job: Job, path: Path) -> None:
    program = job.trace() if job.options.keep_custom_ops else job.lowered()
    with quietly():
        torch.export.save(program, path, extra_files={METADATA: json.dumps(job.metadata)})


def load(job: Job, path: Path) -> Run:
    with quietly():
        module = torch.export.load(path).module()

    def run(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return run
