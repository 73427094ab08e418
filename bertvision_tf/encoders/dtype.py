"""Which type matrix products are fast in on this machine."""

from pathlib import Path

CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # of processors that multiply bfloat16; others only imitate it


def choose_dtype(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Chooses "bfloat16" where a GPU or the processor multiplies it, else "float32".

    A processor that imitates bfloat16 fine-tunes in it several times as slowly as in float32.

    Args:
        cpu_info: the system's file of the processor's flags; without one (elsewhere than on Linux) "float32" is chosen.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return "bfloat16"
    try:
        flags = cpu_info.read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return "bfloat16" if set(CPU_FLAGS) & set(flags) else "float32"
