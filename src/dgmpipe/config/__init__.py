"""What may stand in a config, read and checked before any job starts; nothing here needs torch."""

from dgmpipe.config.read import Config, read_config

__all__ = ["Config", "read_config"]
