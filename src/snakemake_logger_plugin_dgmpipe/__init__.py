"""Snakemake's logger plugin `dgmpipe`: a live screen, and Snakemake's own output should that fail.

Every process of Snakemake imports this module, so that it imports little.
"""

import contextlib
import logging
import sys

from snakemake_interface_logger_plugins.base import LogHandlerBase

__all__ = ["LogHandler"]


class LogHandler(LogHandlerBase):
    """Shows what `dgmpipe.screen` makes of Snakemake's records."""

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler

        stream = sys.stdout if self.common_settings.stdout else sys.stderr
        self._own = ColorizingTextHandler(self.common_settings.nocolor, stream)
        self._watcher = None
        try:
            from dgmpipe.screen.watcher import watcher

            self._watcher = watcher(self.common_settings)
        except Exception as error:  # whatever it is, the workflow goes on
            self._give_up(error)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, whatever happens."""
        records = [record]
        if self._watcher is not None:
            try:
                records = self._watcher.take(record)
            except Exception as error:
                self._give_up(error)
        self._print(records)

    def close(self) -> None:
        """End the screen."""
        if self._watcher is not None:
            try:
                self._print(self._watcher.close())
            except Exception as error:
                self._give_up(error)
        super().close()

    def _print(self, records: list[logging.LogRecord]) -> None:
        self._own.setFormatter(self.formatter)
        for record in records:
            self._own.emit(record)

    def _give_up(self, error: Exception) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            with contextlib.suppress(Exception):  # it may be broken altogether
                watcher.abandon()
        reason = str(error) or type(error).__name__
        print(f"warning: {reason}; Snakemake's own output follows", file=sys.stderr)

    @property
    def writes_to_stream(self) -> bool:
        """Whether it writes to the terminal."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Whether it writes to a file; Snakemake does."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether it has a filter of its own; Snakemake's leaves out what was not asked for."""
        return False

    @property
    def has_formatter(self) -> bool:
        """Whether it has a formatter of its own; Snakemake's is for what is printed as always."""
        return False

    @property
    def needs_rulegraph(self) -> bool:
        """Whether Snakemake is to log the graph of its rules."""
        return False
