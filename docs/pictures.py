"""`python -m docs.pictures [demo|schema]`: draws docs/demo.svg and docs/schema.svg, or one of them.

The demo is run, and its terminal output drawn; the schema is drawn from the metadata.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from docs import schema_picture

WIDTH = 122


def draw_demo() -> None:
    """Run `carrier-opt demo` as a user does and keep what it prints as a picture."""
    command = Path(sys.executable).parent / "carrier-opt"
    with tempfile.TemporaryDirectory() as folder:
        shown = subprocess.run(  # noqa: S603 - our own command
            [command, "demo", "--out", "demo-output"],
            cwd=folder,
            env={**os.environ, "FORCE_COLOR": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo", style="bold green"))
    console.print(Text.from_ansi(shown))
    target = Path(__file__).parent / "demo.svg"
    picture = console.export_svg(title="carrier-opt", theme=MONOKAI, unique_id="demo")
    # Without the web font that Rich links to, nor its advertisement: a picture fetches nothing.
    picture = re.sub(r"@font-face \{.*?\}|<!--.*?-->", "", picture, flags=re.DOTALL)
    target.write_text(picture, encoding="utf-8")


def draw_schema() -> None:
    """Draw the tables of the database."""
    schema_picture.TARGET.write_text(schema_picture.draw(), encoding="utf-8")


PICTURES = {"demo": draw_demo, "schema": draw_schema}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name]()
