"""Which type matrix products are fast in on this machine."""

from pathlib import Path

GPU_CAPABILITY = (8, 0)  # from which on GPUs multiply it
CPU_FLAGS = ("amx_bf16", "avx512_bf16")  # of processors that multiply bfloat16; others only imitate it


def choose_dtype(cpu_info: Path = Path("/proc/cpuinfo")) -> str:
    """Chooses "bfloat16" where a GPU or the processor multiplies it, else "float32".

    A processor that imitates bfloat16 fine-tunes in it several times as slowly as in float32.

    Args:
        cpu_info: the system's file of the processor's flags; without one (elsewhere than on Linux) "float32" is chosen.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        found = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return "bfloat16" if min(found) >= GPU_CAPABILITY else "float32"
    try:
        flags = cpu_info.read_text(encoding="utf-8").split()
    except OSError:
        flags = []
    return "bfloat16" if set(CPU_FLAGS) & set(flags) else "float32"
