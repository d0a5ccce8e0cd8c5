"""Devices, and how much memory is free on them."""

import psutil
import torch


def device_of(name: str | int | torch.device) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: if this machine has none, or it holds no numbers.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except Exception as error:  # PyTorch has other kinds for each sort of device
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name!r} is no device of this machine ({reason}); pass cpu, cuda, cuda:1 or mps") from error
    if device.type == "meta":
        raise ValueError("'meta' is a device that holds no numbers; pass cpu, cuda, cuda:1 or mps")
    return device


def free_memory(device: torch.device) -> int:
    """The bytes that are free on a CUDA device, with what PyTorch keeps for later, or else in the computer's memory."""
    return free_gpu_memory(device) if device.type == "cuda" else psutil.virtual_memory().available


def free_gpu_memory(device: torch.device) -> int:
    """The bytes that are free on a CUDA device, with what PyTorch keeps for later."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
