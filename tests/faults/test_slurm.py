"""`launch/slurm.sh` under a Slurm of this machine alone: stopped by a signal, and resumed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = [name for name in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(name)]


@pytest.mark.fault
@pytest.mark.skipif(bool(MISSING), reason=f"Slurm is not installed: {MISSING}")
@pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons are started as root")
def test_a_job_is_stopped_and_resumed(tmp_path):
    command = ["bash", str(ROOT / "launch" / "check_slurm.sh"), str(tmp_path / "slurm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    print(done.stdout.splitlines()[-1])
