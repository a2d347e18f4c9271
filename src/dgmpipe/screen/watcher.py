"""From the records that Snakemake logs to what a user sees; the rest is in Snakemake's own log."""

import logging
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from dgmpipe.screen.state import State

__all__ = ["MODES", "Lines", "Watcher", "watcher"]

MODES = ("screen", "lines", "snakemake")

# What Snakemake says in passing that a user waits for.
_TELLING = (
    "Terminating processes",
    "Will exit after",
    "Trying to restart",
    "SLURM run ID",
    "Complete log",
)
_TAIL = 15  # lines of the log of what failed
_BLANK = {"None", ""}  # what a record without a message says after it went through a queue


class View(Protocol):
    """Where things are shown."""

    def show(self, state: State) -> None:
        """Show what stands and runs; called every second or so."""

    def say(self, text: str, style: str = "") -> None:
        """Print lines that stay."""

    def end(self, state: State) -> None:
        """Show a last time what stands."""


class Lines:
    """A line now and then, for logs and pipes.

    Args:
        stream: Where they go.
        seconds: Time between two lines, at first; later it is a tenth of the time so far.
    """

    def __init__(self, stream: TextIO, seconds: float = 30) -> None:
        self._stream, self._seconds = stream, seconds
        self._last = 0.0

    def show(self, state: State) -> None:
        if state.elapsed - self._last < max(self._seconds, state.elapsed / 10):
            return
        self._last = state.elapsed
        parts = [f"{state.finished()} of {state.to_do()} jobs done"]
        if left := state.left():
            parts[0] += f", about {duration(left)} left"
        runs = [f"{j.label} {j.share:.0%}" for j in state.running.values() if j.share is not None]
        more = len(state.running) - len(runs[:_SHOWN])
        if state.running:
            word = "more" if runs else "job" if more == 1 else "jobs"
            others = [f"{more} {word}"] if more else []
            parts.append("running: " + ", ".join(runs[:_SHOWN] + others))
        if state.doing:
            parts.append(state.doing)
        self.say(f"[{duration(state.elapsed)}] " + "; ".join(parts))

    def say(self, text: str, style: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def end(self, state: State) -> None:
        pass


_SHOWN = 8  # trainings that a line names


def duration(seconds: float) -> str:
    """Write a time as minutes and seconds, or with hours.

    >>> duration(75), duration(3675.4), duration(0.2)
    ('1:15', '1:01:15', '0:00')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Watcher:
    """Follows an invocation.

    Until its jobs begin it hands back to Snakemake whatever that has to say; of an invocation that
    has nothing to do, or only prints a summary, that is all.

    Args:
        view: Where things are shown.
        seconds: Time between two looks at the running jobs.
    """

    def __init__(self, view: View, seconds: float = 1.0) -> None:
        self._view, self._seconds = view, seconds
        self._state = State()
        self._lock = threading.RLock()
        self._kept: list[logging.LogRecord] = []
        self._unexplained: list[logging.LogRecord] = []
        self._begun = self._ended = False
        self._stop = threading.Event()
        self._error: Exception | None = None

    def take(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """Take a record in and return those that Snakemake is to print as it always does.

        Raises:
            Exception: Whatever went wrong while it was shown, now or since the last call.
        """
        if self._error is not None:
            raise self._error
        with self._lock:
            event = str(getattr(record, "event", None) or "")
            news = getattr(record, "news", "")
            if not self._begun and (news == "plan" or event == "job_info"):
                self._begin()
            if self._ended:
                return self._after(record)
            return self._during(record, event, news) if self._begun else self._before(record, event)

    def _before(self, record: logging.LogRecord, event: str) -> list[logging.LogRecord]:
        if event == "run_info":
            self._state.total = int(getattr(record, "stats", {}).get("total", 0))
        elif record.levelno >= logging.ERROR:
            kept, self._kept = self._kept, []
            return [*kept, record]
        elif record.levelno >= logging.WARNING:
            return [record]
        elif not event:
            self._kept.append(record)
        return []

    def _during(self, record: logging.LogRecord, event: str, news: str) -> list[logging.LogRecord]:
        fields: dict[str, Any] = record.__dict__
        text = "" if record.getMessage() in _BLANK else record.getMessage()
        if news == "plan":
            self._state.plan = fields["plan"]
            self._view.say(text)
        elif news == "doing":
            self._state.doing = text
        elif news == "summary":
            self._end()
            self._view.say(text, "summary")
        elif event == "job_info":
            wildcards = dict(fields["wildcards"] or {})
            self._state.begin(fields["jobid"], fields["rule_name"], wildcards, fields["log"])
        elif event == "job_finished":
            self._state.finish(fields["job_id"])
        elif event == "job_error":
            self._unexplained.clear()  # this record has what matters of it
            self._fail(fields["jobid"], fields["rule_name"], fields["log"], fields["rule_msg"])
        elif event == "group_error":
            for job in fields["job_error_info"]:
                self._fail(job["jobid"], job["rule_name"], job["log"], None)
        elif event == "error" and fields.get("exception") == "RuleException":
            self._unexplained.append(record)
        elif record.levelno >= logging.WARNING or news or (not event and text.startswith(_TELLING)):
            error, warning = record.levelno >= logging.ERROR, record.levelno >= logging.WARNING
            self._view.say(text, "error" if error else "warning" if warning else "")
        if not self._ended:
            self._view.show(self._state)
        return []

    def _after(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        said = record.levelno >= logging.WARNING or bool(getattr(record, "news", ""))
        if said or record.getMessage().startswith(_TELLING):
            self._view.say(record.getMessage(), "error" if record.levelno >= logging.ERROR else "")
        return []

    def _fail(self, number: int, rule: str, logs: list[str], reason: str | None) -> None:
        failure = self._state.fail(number, rule, logs)
        lines = [f"failed: {failure.label}" + (f" ({reason})" if reason else "")]
        for log in failure.logs:
            lines.append(f"  its log is {log}")
            lines += [f"    {line}" for line in _tail(Path(log))]
        self._view.say("\n".join(lines), "error")

    def _begin(self) -> None:
        self._begun = True
        self._kept.clear()  # which is in Snakemake's log
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self._stop.wait(self._seconds):
            with self._lock:
                if self._ended:
                    return
                try:
                    self._state.look()
                    self._view.show(self._state)
                except Exception as error:  # the next record finds it
                    self._error = error
                    return

    def _end(self) -> None:
        self._stop.set()
        if self._ended:
            return
        self._ended = True
        self._view.end(self._state)
        for record in self._unexplained:
            self._view.say(record.getMessage(), "error")
        if failures := self._state.failures.values():
            done, to_do = self._state.finished(), self._state.to_do()
            self._view.say(f"{done} of {to_do} jobs are done; failed:", "error")
            for failure in failures:
                self._view.say("  " + ": ".join([failure.label, ", ".join(failure.logs)]), "error")

    def close(self) -> list[logging.LogRecord]:
        """End, and return what Snakemake is to print as it always does."""
        with self._lock:
            if self._begun:
                self._end()
            kept, self._kept = self._kept, []
            return kept

    def abandon(self) -> None:
        """Leave the terminal as it was, after something went wrong."""
        self._stop.set()
        self._ended = True
        self._view.end(self._state)


def _tail(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ["(there is none)"]
    return (["..."] if len(lines) > _TAIL else []) + lines[-_TAIL:]


def watcher(settings: Any, environment: Mapping[str, str] = os.environ) -> Watcher | None:
    """Return what follows an invocation, or nothing where Snakemake's own output is asked for.

    That is with `--verbose`, `--quiet` and the like, for a dry run, and with
    `DGMPIPE_OUTPUT=snakemake`; `screen` and `lines` ask for the others.

    Args:
        settings: Snakemake's settings of its output.
        environment: Variables.

    Raises:
        ValueError: If the variable has another value.
    """
    mode = environment.get("DGMPIPE_OUTPUT", "").lower()
    if mode and mode not in MODES:
        raise ValueError(f"DGMPIPE_OUTPUT is {mode!r}, which is none of {', '.join(MODES)}")
    asked = (settings.verbose, settings.dryrun, settings.quiet, settings.debug_dag)
    if mode == "snakemake" or any(asked) or settings.printshellcmds:
        return None
    terminal = sys.stderr.isatty() and environment.get("TERM", "dumb") != "dumb"
    if mode == "screen" or (terminal and mode != "lines"):
        from dgmpipe.screen.live import Live

        return Watcher(Live(sys.stderr, plain=settings.nocolor))
    return Watcher(Lines(sys.stderr))
