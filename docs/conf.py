"""Sphinx: `make docs` writes the pages to `build/docs`. Warnings are errors.

Sphinx and not MkDocs: it is maintained, it reads the lazy packages by importing them, and it checks
every reference. Furo loads nothing from other places.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from dgmjax import __version__
from dgmjax.devices.environment import configure

configure()

project = "dgmjax"
author = "The dgmjax authors"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "myst_nb",
    "dgmjax_pages.sphinx",
]
exclude_patterns = ["dgmjax_pages", "**/.ipynb_checkpoints"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb"}
root_doc = "index"

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"exclude-members": "setup, parent, name, scope"}
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

nb_execution_mode = "auto" if os.environ.get("DGMJAX_TUTORIALS", "on") != "off" else "off"
nb_execution_mode = nb_execution_mode.replace("auto", "force")
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
nb_output_stderr = "remove"  # warnings of libraries, which name folders of whoever builds it

html_theme = "furo"
html_title = "dgmjax"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
html_use_index = True
pygments_dark_style = "monokai"
