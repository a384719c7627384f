"""Parts of a batch in threads."""

import os
import signal

import torch

from selfguide.core.workers import in_threads


def test_parts_come_back_in_order_and_threads_are_put_back():
    before = torch.get_num_threads()
    assert in_threads(lambda part: part + 1, [1, 2, 3]) == [2, 3, 4]
    assert torch.get_num_threads() == before


def test_a_forked_child_has_threads_of_its_own():
    in_threads(torch.sum, [torch.ones(2), torch.ones(2)])  # the pool is there now
    child = os.fork()
    if child == 0:  # whatever happens, this process must not go on as a second test runner
        signal.alarm(20)  # a child that waits for its parent's threads waits for ever
        try:
            found = in_threads(torch.sum, [torch.ones(2), torch.ones(3)])
            os._exit(0 if [float(each) for each in found] == [2, 3] else 1)
        except BaseException:  # noqa: BLE001
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
