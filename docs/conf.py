"""The documentation site: Sphinx with MyST, built by `make docs` without a network."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
# The reference is read from the application, whose libraries report their start.
for name in ("alembic", "api"):
    logging.getLogger(name).setLevel(logging.WARNING)

project = "Asset Enrichment"
author = "the authors of Asset Enrichment"
copyright = f"{author}, Apache-2.0"
version = release = installed_version("asset-enrichment")

extensions = ["myst_parser", "docs._ext.reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static", "reference/_generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Links such as runbook.md#enrichapidown resolve to headings.
myst_heading_anchors = 4
# Blocks of shell lines and of output have no language; Sphinx would take them for Python.
highlight_language = "none"
nitpicky = True

html_theme = "furo"
html_title = "Asset Enrichment"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "../api/static/icon.svg"
html_theme_options = {"sidebar_hide_name": False, "navigation_with_keys": True}
html_copy_source = False
html_show_sourcelink = False
