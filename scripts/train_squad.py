"""python scripts/train_squad.py --task squad2 --data-dir squad: the command `bertvision train`, by default on the
starter task of questions."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    given = any(option.split("=")[0] in ("--task", "--train") for option in sys.argv)
    sys.argv[1:1] = ["train"] if given else ["train", "--task", "starter_qa"]
    main()
