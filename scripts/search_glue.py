"""python scripts/search_glue.py --task rte --data-dir glue: the command `bertvision search`."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "search")
    main()
