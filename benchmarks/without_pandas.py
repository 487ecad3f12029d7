"""Import this first to have a user's mirror: sqlite-utils loads pandas wherever it finds it.

The mirror does not need pandas; the developers' tools bring it. It would cost 60 MB and 0.4 s.
"""

import sys

sys.modules["pandas"] = None  # what Python takes for "not installed"
