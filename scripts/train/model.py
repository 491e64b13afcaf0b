"""The encoder with its two heads. Plain layers, so that what is exported is what is trained."""
import torch
import torch.nn.functional as F
from torch import nn

from backbone import whole

DROPOUT = 0.1  # of the pooled vectors
EARLY = 2  # layers below the early head
# To drop or give away what the model was told; an order inside data; a frame that is to free the model.
HEADS = ("direct", "embedded", "jailbreak")


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
        if x.is_cuda:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        else:
            # By hand: at this length the matrices are small, and the export keeps these five operations.
            scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + bias
            mixed = torch.softmax(scores, dim=-1).to(value.dtype) @ value
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = self.attention_norm(x + self.attention_out(mixed))
        return self.output_norm(x + self.down(F.gelu(self.up(x))))


class Head(nn.Module):
    """Logits of HEADS from the vectors of a window: their mean and their maximum."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.middle = nn.Linear(2 * width, inner)
        self.out = nn.Linear(inner, len(HEADS))

    def forward(self, x: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        mean = (x * real).sum(1) / real.sum(1)
        top = (x + (real - 1) * 1e4).amax(1)
        pooled = F.dropout(torch.cat([mean, top], dim=-1), DROPOUT, self.training)
        return self.out(F.gelu(self.middle(pooled)))


def bias_of(ids: torch.Tensor, pad: int) -> torch.Tensor:
    return (ids == pad).to(torch.float32)[:, None, None, :] * -1e4


def real_of(ids: torch.Tensor, pad: int, like: torch.Tensor) -> torch.Tensor:
    return (ids != pad).unsqueeze(-1).to(like.dtype)


def layers_of(shape: dict, count: int) -> nn.ModuleList:
    return nn.ModuleList(Layer(shape["width"], shape["heads"], shape["inner"], shape["epsilon"]) for _ in range(count))


class First(nn.Module):
    """The vocabulary and the lowest layers with the early head: what every window goes through."""

    def __init__(self, shape: dict, vocabulary: int, positions: int):
        super().__init__()
        self.pad = shape["pad"]
        self.word = nn.Embedding(vocabulary, shape["width"])
        self.position = nn.Embedding(positions, shape["width"])
        self.norm = nn.LayerNorm(shape["width"], eps=shape["epsilon"])
        self.layers = layers_of(shape, EARLY)
        self.head = Head(shape["width"], 96)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, bias = self.norm(self.word(ids) + self.position.weight[: ids.shape[1]]), bias_of(ids, self.pad)
        for layer in self.layers:
            x = layer(x, bias)
        return x, self.head(x, real_of(ids, self.pad, x))


class Second(nn.Module):
    """The layers above and the head that decides: for what the first part leaves open."""

    def __init__(self, shape: dict):
        super().__init__()
        self.pad = shape["pad"]
        self.layers = layers_of(shape, shape["layers"] - EARLY)
        self.head = Head(shape["width"], 192)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        bias = bias_of(ids, self.pad)
        for layer in self.layers:
            x = layer(x, bias)
        return self.head(x, real_of(ids, self.pad, x))


class Detector(nn.Module):
    """Both parts; of each window the early logits and the late ones."""

    def __init__(self, shape: dict, vocabulary: int, positions: int = 512):
        super().__init__()
        self.shape = shape
        self.first = First(shape, vocabulary, positions)
        self.second = Second(shape)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, early = self.first(ids)
        return early, self.second(x, ids)

    def heads(self) -> list[nn.Parameter]:
        return [*self.first.head.parameters(), *self.second.head.parameters()]

    def freeze(self, upper: bool) -> None:
        """
        Holds the vocabulary still: what other languages have in common with English stays as it was. With `upper` only
        the second part learns, and what ends early ends early as before.
        """
        for part in (self.first,) if upper else (self.first.word, self.first.position, self.first.norm):
            part.requires_grad_(False)


def fresh(backbone: dict, layers: int) -> Detector:
    """A detector on the lowest layers of the backbone; its heads start at random, so seed before."""
    shape = {**backbone["shape"], "layers": layers}
    state = whole(backbone["state"])
    model = Detector(shape, state["word"].shape[0], state["position"].shape[0])
    named = {"first.word.weight": state["word"], "first.position.weight": state["position"],
             "first.norm.weight": state["norm.weight"], "first.norm.bias": state["norm.bias"]}
    for name, value in state.items():
        _, _, rest = name.partition("layers.")
        number, _, part = rest.partition(".")
        if rest and int(number) < layers:
            named[f"first.layers.{number}.{part}" if int(number) < EARLY else f"second.layers.{int(number) - EARLY}.{part}"] = value
    missing, unexpected = model.load_state_dict(named, strict=False)
    assert not unexpected and all(".head." in name for name in missing), (missing, unexpected)
    return model
