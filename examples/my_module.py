"""An architecture to copy: a recurrent module that is trained in parallel and decoded step by step."""

from torch import Tensor, nn


class Recurrent(nn.Module):
    """Two layers of gated recurrent units between an embedding and a linear map to logits."""

    def __init__(self, size: int, width: int = 128) -> None:
        super().__init__()
        self.read = nn.Embedding(size, width)
        self.mix = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.write = nn.Linear(width, size)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 tokens of shape (batch, time) to logits of shape (batch, time, size)."""
        return self.step(tokens, None)[0]

    def step(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """The same for tokens that follow those of `state`, shape (batch, layers, width), and the state after them.

        It is optional. With it, lgbench decodes in linear time: see docs/architectures.md.
        """
        before = None if state is None else state.transpose(0, 1).contiguous()
        mixed, after = self.mix(self.read(tokens), before)
        logits: Tensor = self.write(mixed)
        return logits, after.transpose(0, 1)


def build(size: int, width: int = 128) -> nn.Module:
    """What `--model` names: a fresh module for a vocabulary of this size."""
    return Recurrent(size, width)
