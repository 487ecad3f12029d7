"""Import this first to measure a user's installation: sqlite-utils loads pandas if it can.

s2mirror does not need pandas; the developers' tools install it. It would cost 60 MB and 0.4 s.
"""

import sys

sys.modules["pandas"] = None  # Python treats None as not installed
