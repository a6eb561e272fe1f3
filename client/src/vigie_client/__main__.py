"""Run the command as `python -m vigie_client`, if its script is not on the path."""

import sys

from vigie_client.cli import main

sys.exit(main())
