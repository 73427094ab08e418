"""python scripts/compare_heads.py --data-dir glue: the command `bertvision compare`."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "compare")
    main()
