"""The encoder with its two heads. Plain layers, so that what is exported is what is trained."""
import torch
import torch.nn.functional as F
from torch import nn

# On the pooled vector only: inside the layers it costs an eighth of the time, and one pass does not overfit.
DROPOUT = 0.1


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, epsilon: float):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attention_out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.output_norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        split = lambda y: y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        # By hand: at 128 tokens the matrices are small, and the export keeps the same five operations.
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
        mixed = torch.softmax(scores, dim=-1).to(value.dtype) @ value
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.attention_norm(x + self.attention_out(mixed))
        return self.output_norm(x + self.down(F.gelu(self.up(x))))


class Encoder(nn.Module):
    """Token ids to one vector a token."""

    def __init__(self, shape: dict, vocabulary: int, positions: int):
        super().__init__()
        self.pad = shape["pad"]
        self.word = nn.Embedding(vocabulary, shape["width"])
        self.position = nn.Embedding(positions, shape["width"])
        self.norm = nn.LayerNorm(shape["width"], eps=shape["epsilon"])
        self.layers = nn.ModuleList(
            Layer(shape["width"], shape["heads"], shape["inner"], shape["epsilon"]) for _ in range(shape["layers"])
        )
        self.frozen = 0

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        bias = (ids == self.pad).to(torch.float32)[:, None, None, :] * -1e4
        x = self.norm(self.word(ids) + self.position.weight[: ids.shape[1]])
        for index, layer in enumerate(self.layers):
            x = layer(x, bias)
            if index + 1 == self.frozen:
                x = x.detach()
        return x


class Detector(nn.Module):
    """Logits of `direct` and `embedded` for each window."""

    def __init__(self, shape: dict, vocabulary: int, positions: int = 512):
        super().__init__()
        width = shape["width"]
        self.shape = shape
        self.encoder = Encoder(shape, vocabulary, positions)
        self.middle = nn.Linear(2 * width, 192)
        self.heads = nn.Linear(192, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.encoder(ids)
        real = (ids != self.encoder.pad).unsqueeze(-1).to(x.dtype)
        mean = (x * real).sum(1) / real.sum(1)
        top = (x + (real - 1) * 1e4).amax(1)
        pooled = F.dropout(torch.cat([mean, top], dim=-1), DROPOUT, self.training)
        return self.heads(F.gelu(self.middle(pooled)))

    def freeze(self, layers: int) -> None:
        """Holds the vocabulary and the lowest layers still; the slots' own tokens are held with them."""
        encoder = self.encoder
        encoder.frozen = layers
        for part in (encoder.word, encoder.position, encoder.norm, *encoder.layers[:layers]):
            part.requires_grad_(False)


def fresh(backbone: dict) -> Detector:
    """A detector on the backbone that backbone.py made; the heads start at random, so seed before."""
    vocabulary = backbone["state"]["word"].shape[0]
    positions = backbone["state"]["position"].shape[0]
    model = Detector(backbone["shape"], vocabulary, positions)
    state = {("word.weight" if k == "word" else "position.weight" if k == "position" else k): v for k, v in backbone["state"].items()}
    model.encoder.load_state_dict(state)
    return model
