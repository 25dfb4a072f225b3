"""``python -m space_core``: see ``space_core.cli``."""

import signal
import sys

from space_core.cli import main

# Told to end, it tidies up as after Ctrl-C.
signal.signal(signal.SIGTERM, signal.default_int_handler)
sys.exit(main())
