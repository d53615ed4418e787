"""How Sphinx makes the documentation: `python3 dev.py docs`."""

from __future__ import annotations

import sys
from pathlib import Path

import nonsuch

sys.path.insert(0, str(Path(__file__).parent / "extension"))

project = "Nonsuch"
author = "The Nonsuch authors"
project_copyright = author
version = release = nonsuch.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "generated"]
exclude_patterns = ["_build"]
nitpicky = False  # signatures name the standard library, whose pages are on another host

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

smartquotes = False  # two hyphens begin an option
default_role = "code"  # docstrings write code as Markdown has it
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 80

html_theme = "furo"
html_title = "Nonsuch"
html_static_path = ["static"]
html_css_files = ["nonsuch.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
