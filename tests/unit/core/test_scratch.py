"""One process at a time works in a scratch folder."""

import subprocess
import sys

import pytest

from selfguide.core.errors import UserError
from selfguide.core.scratch import claim, claimed, discard, scratch_folder

CLAIM = """
import sys
from pathlib import Path
from selfguide.core.scratch import claim
claim(Path(sys.argv[1]))
print("claimed", flush=True)
input()
"""


@pytest.fixture
def other(scratch_root):
    """Another process that works in the folder."""
    folder = scratch_folder("denoiser", seed=1)
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"claimed\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_and_may_follow_the_first(other):
    folder = scratch_folder("denoiser", seed=1)
    with pytest.raises(UserError, match=rf"another process \({other.pid}\) runs the same stage"):
        claim(folder)
    claim(scratch_folder("denoiser", seed=2))
    other.kill()
    other.wait()
    claim(folder)
    claim(folder)  # again by the same process
    assert folder.absolute() in claimed()
    discard(folder)
    assert not folder.exists()
    assert folder.absolute() not in claimed()
    claim(folder)
    discard(folder)
    discard(scratch_folder("denoiser", seed=2))


def test_a_file_where_the_folder_should_be(scratch_root):
    (scratch_root / ".scratch").write_text("")
    with pytest.raises(OSError, match=r"\.scratch"):
        claim(scratch_folder("rows"))
