"""python -m trackertraincode: the same as `ttc`. All doors begin here, those of scripts/, too."""

import signal

# No traceback while modules are imported, when there is nothing to be cleaned up.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from trackertraincode.commands import main

if __name__ == "__main__":
    main()
