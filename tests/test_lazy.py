"""What a user sees when TensorFlow Probability's stable release hides the nightly one."""

import os
import subprocess
import sys

FAKE = """
raise AttributeError("module 'jax.interpreters.xla' has no attribute 'pytype_aval_mappings'")
"""
METADATA = "Metadata-Version: 2.1\nName: tensorflow-probability\nVersion: 0.25.0\n"


def test_the_stable_release_of_tensorflow_probability_is_named(tmp_path):
    package = tmp_path / "tensorflow_probability"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE)
    installed = tmp_path / "tensorflow_probability-0.25.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(METADATA)
    code = "from dgmjax.bijectors import Planar"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: dgmjax.bijectors.Planar")
    for words in ("pytype_aval_mappings", "stable release 0.25.0", "pip uninstall"):
        assert words in last


def test_a_misspelt_name_is_an_attribute_error():
    code = "import dgmjax.bijectors as b\ntry: b.Planer\nexcept AttributeError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "module 'dgmjax.bijectors' has no attribute 'Planer'\n"
