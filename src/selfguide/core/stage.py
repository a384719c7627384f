"""The frame of a stage script: its command line, and user errors printed without a traceback."""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable

from selfguide.core import environment
from selfguide.core.errors import UserError


def parser(description: str | None, **paths: str) -> argparse.ArgumentParser:
    """An argument parser with `--params` and one option per input or output path, each with its default.

    Args:
        description: the script's docstring.
        paths: option name => default path, relative to the project's root.
    """
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    found.add_argument("--params", default="params.yaml", metavar="FILE", help="configuration (default: %(default)s)")
    for name, default in paths.items():
        found.add_argument(
            f"--{name.replace('_', '-')}", default=default, metavar="PATH", help="default: %(default)s"
        )  # fmt: skip
    return found


_LIGHTNING = ("pytorch_lightning", "lightning_fabric")


def _is_ours_or_a_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not record.name.startswith(_LIGHTNING)


def run(main: Callable[[], None]) -> None:
    """Call a stage's `main`; a UserError becomes `error: ...` on stderr and exit status 2."""
    level = environment.choice("SELFGUIDE_LOG").upper()
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    for name in _LIGHTNING:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_ours_or_a_warning)  # a stage that imports Lightning later gets that level undone
    # Lightning's advice about loaders does not apply: ours carry numbers, and what a step sees follows from them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*predict returned None.*")
    warnings.filterwarnings("ignore", message="Total length of .* is zero.*")  # rows that a killed run finished
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
