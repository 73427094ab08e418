"""python scripts/train_squad.py --data-dir squad: the command `bertvision train`, on squad2 where a folder is named and
else on the starter task of questions, if no task is."""

import sys

from bertvision_tf.cli import main

if __name__ == "__main__":
    given = {option.split("=")[0] for option in sys.argv[1:]}
    default = [] if given & {"--task", "--train"} else ["--task", "squad2" if "--data-dir" in given else "starter_qa"]
    sys.argv[1:1] = ["train", *default]
    main()
