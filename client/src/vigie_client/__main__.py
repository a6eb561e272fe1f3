"""`python -m vigie_client`: the command where its script isn't on the path."""

import sys

from vigie_client.cli import main

sys.exit(main())
