"""What makes and writes a figure, a table or a page of the workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgmpipe.files import load_function, replacing, write_results

__all__ = ["make_exhibit"]


def make_exhibit(
    function: str,
    files: Mapping[str, Sequence[str]],
    arguments: Mapping[str, Any],
    outputs: Mapping[str, str],
) -> None:
    """Make a figure, a table or a page and write it.

    Args:
        function: Module and name of what makes it of files and arguments.
        files: What it is made of, by name.
        arguments: Further arguments by name.
        outputs: Files by name: `png` and `pdf` of a figure, `csv` of a table, `html` of a page.
    """
    made = load_function(function)(files, **arguments)
    match list(outputs):
        case ["png", "pdf"]:
            from dgmpipe.figures.style import save_figure

            save_figure(made, outputs["png"], outputs["pdf"])
        case ["html"]:
            with replacing(Path(outputs["html"])) as temporary:
                temporary.write_text(made, encoding="utf-8")
        case _:
            write_results({"csv": made}, outputs)
