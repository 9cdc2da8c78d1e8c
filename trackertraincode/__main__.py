"""python -m trackertraincode: the same as `ttc`."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # no traceback while modules are imported, and nothing to be cleaned up

from trackertraincode.commands import main

if __name__ == "__main__":
    main()
