"""How much memory is free."""

import psutil
import torch


def free_memory(device: torch.device) -> int:
    """The bytes that are free on a CUDA device, with what PyTorch keeps for later, or else in the computer's memory."""
    return free_gpu_memory(device) if device.type == "cuda" else psutil.virtual_memory().available


def free_gpu_memory(device: torch.device) -> int:
    """The bytes that are free on a CUDA device, with what PyTorch keeps for later."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
