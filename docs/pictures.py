"""`python docs/pictures.py`: runs the demo and draws its terminal output into docs/demo.svg."""

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

WIDTH = 122


def main() -> None:
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


if __name__ == "__main__":
    main()
