import torch

# The models here are so small that threads would spend their time waiting for each other.
torch.set_num_threads(1)
