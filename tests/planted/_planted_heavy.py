"""Takes 150 ms of processor time to import, on any machine."""

import time

_end = time.process_time() + 0.15
while time.process_time() < _end:
    pass
