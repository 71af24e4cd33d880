"""What NVIDIA's driver says of the GPUs, asked without TensorFlow, whose import takes seconds."""

import ctypes


def start_cuda() -> ctypes.CDLL | None:
    """Starts CUDA; returns the driver's library, or None if it has no GPU for this process."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")  # which TensorFlow opens by the same name
    except OSError:
        return None
    return None if cuda.cuInit(0) else cuda


def count_gpus() -> int:
    """Returns how many GPUs the driver offers this process, as CUDA_VISIBLE_DEVICES allows.

    TensorFlow may see fewer, for instance where other libraries are missing, but never more.
    """
    cuda, count = start_cuda(), ctypes.c_int()
    return 0 if cuda is None or cuda.cuDeviceGetCount(ctypes.byref(count)) else count.value


def pci_address(number: int) -> str | None:
    """Asks CUDA for the PCI address of a GPU, which TensorFlow does not report.

    Args:
        number: CUDA's number of the GPU in this process, which is in TensorFlow's device name.

    Returns:
        The address, such as "0000:3b:00.0"; None = there is no CUDA or no such GPU.
    """
    cuda, device, address = start_cuda(), ctypes.c_int(), ctypes.create_string_buffer(32)
    if (
        cuda is None
        or cuda.cuDeviceGet(ctypes.byref(device), number)
        or cuda.cuDeviceGetPCIBusId(address, len(address), device)
    ):
        return None
    return address.value.decode()
