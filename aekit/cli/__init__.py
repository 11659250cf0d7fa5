"""The `aekit` command line. Commands are thin and imported when called, so that help and listings stay fast."""

from aekit.cli._group import COMMANDS as COMMANDS, group as group
from aekit.cli._main import BAD_INPUT as BAD_INPUT, main as main
