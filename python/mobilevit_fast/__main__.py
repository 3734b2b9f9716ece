"""`python -m mobilevit_fast` is the command line."""

import sys

from mobilevit_fast.cli import main

sys.exit(main())
