"""Names that torch does not promise to keep."""

import torch

#: is a tensor mapped by ``torch.vmap``? (torch 2.4 to 2.14)
is_batched = torch._C._functorch.is_batchedtensor
#: the innermost transform of torch.func that is at work, or ``None`` (torch 2.4 to 2.14)
innermost_transform = torch._C._functorch.peek_interpreter_stack
