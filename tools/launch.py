"""torch.distributed.run, which ends as it was told to: after SIGTERM with status 143.

tools/dist_train.sh and dist_test.sh start it. Processes that it started end with it, also where it
is killed while they import.
"""

import os

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

_TERMINATED = 143

if __name__ == '__main__':
    os.environ['MTPEFT_LAUNCHER'] = str(os.getpid())
    try:
        main()
    except SignalException as error:
        raise SystemExit(128 + error.sigval) from None
    except ChildFailedError as error:
        if error.get_first_failure()[1].exitcode != _TERMINATED:
            raise
        raise SystemExit(_TERMINATED) from None
