"""The live screen on a terminal."""

import time
from collections.abc import Iterable
from typing import TextIO

import rich.live
from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dgmpipe.plan.schedule import STAGES
from dgmpipe.screen.state import Running, State
from dgmpipe.screen.watcher import duration

__all__ = ["Live", "picture"]

_STYLES = {"error": "red", "warning": "yellow", "summary": ""}
_ROWS = 12  # running jobs that are shown on a terminal of unknown height
_AT_MOST = 0.2  # seconds between two drawings, however much happens
_WIDE, _NARROW = 30, 16  # bars of stages and of jobs


class Live:
    """Draws what stands and runs in place, and lets what is said scroll by above.

    Args:
        stream: The terminal.
        plain: Whether it is drawn without colours.
    """

    def __init__(self, stream: TextIO, plain: bool = False) -> None:
        self.console = Console(file=stream, no_color=plain or None, force_terminal=True)
        self._live: rich.live.Live | None = None
        self._drawn = 0.0

    def show(self, state: State) -> None:
        if time.monotonic() - self._drawn < _AT_MOST:
            return
        self._drawn = time.monotonic()
        shown = picture(state, self.console.height)
        if self._live is None:
            self._live = rich.live.Live(
                shown, console=self.console, auto_refresh=False, vertical_overflow="ellipsis"
            )
            self._live.start()
        self._live.update(shown, refresh=True)

    def say(self, text: str, style: str = "") -> None:
        if style == "summary":
            for line in text.splitlines():
                heading = line and not line.startswith(" ")
                self.console.print(Text(line, "bold" if heading else ""), soft_wrap=True)
            return
        self.console.print(Text(text, _STYLES.get(style, "")), soft_wrap=True)

    def end(self, state: State) -> None:
        if self._live is not None:
            state.doing = ""
            self._live.update(picture(state, self.console.height), refresh=True)
            self._live.stop()
            self._live = None


def picture(state: State, height: int = 2 * _ROWS) -> Group:
    """Return what the screen shows of an invocation.

    Args:
        state: The invocation.
        height: Lines of the terminal.
    """
    stages = Table.grid(padding=(0, 2), expand=False)
    stages.add_column(width=20)
    stages.add_column(width=_WIDE)
    stages.add_column(justify="right")
    for name, share, stand, total in state.stages():
        stages.add_row(f"  {name}", _bar(share, _WIDE), f"{stand} of {total}")
    rows = max(3, height - len(STAGES) - 6)  # a blank line before each part, and the headline
    parts: list[Text | Table] = [_headline(state), stages]
    if state.running:
        parts.append(_running(list(state.running.values()), rows))
    if state.doing:
        parts.append(Text(f"  {state.doing}", "cyan"))
    return Group(*_with_space(parts))


def _with_space(parts: Iterable[Text | Table]) -> list[Text | Table]:
    spaced: list[Text | Table] = []
    for part in parts:
        spaced += [Text(""), part]
    return spaced


def _headline(state: State) -> Text:
    line = Text.assemble(
        (f"{state.plan.tier or 'dgmpipe'} ", "bold"),
        f" {state.share():.0%}, {state.finished()} of {state.to_do()} jobs, ",
        f"{duration(state.elapsed)} so far",
    )
    left = state.left()
    if left and state.running:
        line.append(f", about {duration(left)} left", "bold")
    if state.failures:
        line.append(f", {len(state.failures)} failed", "bold red")
    return line


def _bar(share: float, width: int) -> ProgressBar:
    share = min(share, 1.0)
    return ProgressBar(1.0, share, width, complete_style="cyan", finished_style="green")


def _running(jobs: list[Running], rows: int) -> Table:
    """Return a row a job: trainings, which have most to tell, first."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column(width=_NARROW)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    ordered = sorted(jobs, key=lambda job: (job.progress is None, job.begun))
    for job in ordered[:rows]:
        if job.progress is None:
            passed = duration(time.monotonic() - job.begun)
            table.add_row(f"  {job.label}", Text("running", "dim"), "", "", passed)
            continue
        found = job.progress
        table.add_row(
            f"  {job.label}",
            _bar(job.share or 0.0, _NARROW),
            f"{found['step']:,.0f} / {found['total']:,.0f}",
            _measure(found["values"]),
            f"{duration(found['seconds_left'])} left",
        )
    if len(ordered) > rows:
        table.add_row(Text(f"  and {len(ordered) - rows} more", "dim"))
    return table


def _measure(values: dict[str, float]) -> str:
    """Return the first of what was measured, which is of held-out data where there is that."""
    name, value = next(iter(values.items()), ("", 0.0))
    return f"{name.replace('_', ' ')} {value:.4g}" if name else ""
