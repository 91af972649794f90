import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tfqkd.process.interruption import Interrupted, deferred, orderly, requested


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")]
)
def test_a_signal_raises_at_once_outside_training(number, name):
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(Interrupted) as error, orderly():
        os.kill(os.getpid(), number)
        time.sleep(60)
    assert (error.value.number, str(error.value)) == (number, f"Stopped by {name}.")
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert requested() is None


def test_a_signal_waits_for_the_training_to_ask_or_to_end():
    said = []
    with pytest.raises(Interrupted) as error, orderly():
        assert requested() is None
        with deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(100):
                assert threading.current_thread()
            said.append(requested())
        said.append("the next stage")
    assert said == [signal.SIGTERM]
    assert error.value.number == signal.SIGTERM
    assert requested() is None


def test_what_the_training_itself_raises_is_not_replaced_by_a_signal():
    with pytest.raises(ValueError, match="diverged"), orderly(), deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(100):
            assert threading.current_thread()
        raise ValueError("diverged")


def test_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with orderly():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


DEAF = """
import time
from tfqkd.process.interruption import deferred, orderly
with orderly(), deferred():
    print("ready", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second):
    child = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert child.poll() is None
    child.send_signal(second)
    assert child.wait(10) == -second
    child.stdout.close()
