"""python scripts/export_saved_model.py RUN --output models/cola/1: the command `bertvision export`."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "export")
    main()
