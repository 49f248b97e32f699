"""The exit statuses of the trainer, after sysexits.h where it has a name for them."""

EXIT_DONE = 0
EXIT_USER_CODE = 1  # the user's own function raised
EXIT_SPEC = 64  # EX_USAGE: run.json is wrong
EXIT_DATA = 65  # EX_DATAERR: the data set is missing, damaged or does not fit
EXIT_DEVICES = 69  # EX_UNAVAILABLE: the devices asked for are not there
EXIT_INTERNAL = 70  # EX_SOFTWARE: a fault in hpcdl or TensorFlow
EXIT_STOPPED = 75  # EX_TEMPFAIL: stopped on request, state saved, run me again
