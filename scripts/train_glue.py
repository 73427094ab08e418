"""python scripts/train_glue.py --task CoLA --data-dir glue: the command `bertvision train`."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
