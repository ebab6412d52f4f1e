"""head: global average pooling and the classifier, with an optional hidden layer as in MobileNetV3."""

from torch import Tensor, nn

from search_spaces.errors import InputError
from search_spaces.ops.activation import Act, activation
from search_spaces.registry import block


@block("head")
class Head(nn.Module):
    """Global average pooling, [linear to `hidden`, activation,] dropout, linear to the classes (logits)."""

    def __init__(
        self, c_in: int, classes: int, *, hidden: int = 0, act: Act = "hard_swish", dropout: float = 0.0, bias: bool = True
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1 or not 0 <= hidden <= 65536:
            raise InputError("dropout must be 0 or more and below 1, hidden 0 to 65536")
        layers: list[nn.Module] = []
        if hidden:
            layers += [nn.Linear(c_in, hidden), activation(act, hidden)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(hidden or c_in, classes, bias=bias))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.pool(x).flatten(1))  # type: ignore[no-any-return]
