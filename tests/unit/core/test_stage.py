import subprocess
import sys

#: A stage that imports Lightning, whose import sets its loggers' level, before `run` or inside of it.
STAGE = """
import logging, sys
from selfguide.core.errors import UserError
from selfguide.core.stage import run

def lightning():
    logging.getLogger("pytorch_lightning").setLevel(logging.INFO)

def main():
    {inside}
    logger = logging.getLogger("pytorch_lightning.utilities")
    logger.info("a tip")
    logger.warning("a warning")
    logging.getLogger("selfguide.images").info("ours")
    raise UserError("k: expected at most 3, found 4")

{before}
run(main)
"""


def test_lightning_is_heard_when_it_warns_and_an_error_is_a_line_and_a_status():
    for before, inside in (("lightning()", ""), ("", "lightning()")):
        script = STAGE.format(before=before, inside=inside)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stderr == "a warning\nours\nerror: k: expected at most 3, found 4\n"
        assert done.returncode == 2
