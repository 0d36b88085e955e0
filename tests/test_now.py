"""What a thread does now: modes that come back, scopes that say where, one clock."""

from __future__ import annotations

import threading

import pytest

from tinygrad_rnn.now import Scope, mode, next_serial, set_recording, thread


def modes() -> tuple[bool, bool, bool]:
    now = thread.now
    return now.recording, now.anomaly, now.plain


def test_modes_nest_and_come_back_whatever_happens() -> None:
    assert modes() == (True, False, True)
    with set_recording(False):
        assert modes() == (False, False, False)
        with mode(anomaly=True):
            assert modes() == (False, True, False)
            with pytest.raises(KeyError), set_recording(True):
                raise KeyError(modes())
            assert modes() == (False, True, False)
        assert modes() == (False, False, False)
    assert modes() == (True, False, True)


def test_each_thread_has_its_own_mode_and_all_have_one_clock() -> None:
    found = []
    with set_recording(False):
        other = threading.Thread(target=lambda: found.extend((*modes(), next_serial())))
        before = next_serial()
        other.start()
        other.join()
        assert (found[:3], before < found[3] < next_serial()) == ([True, False, True], True)


def test_a_scope_says_where() -> None:
    call = Scope("TreeLSTM", 3, Scope("outer", 1, None))
    assert str(call) == "cell TreeLSTM, level 3"
    assert str(Scope("exp", 3, call, "f.py:1: y = exp(x)")) == "f.py:1: y = exp(x), cell TreeLSTM, level 3"
    assert str(Scope("exp", -1, None, "f.py:1: y = exp(x)")) == "f.py:1: y = exp(x)"
