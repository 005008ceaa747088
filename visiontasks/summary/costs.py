"""The figures of a network: one row for each layer, their sums, and the memory that follows from them."""

from dataclasses import dataclass

FLOAT32 = 4  # bytes
# float32 values in memory for each trained parameter: itself, its gradient, the optimizer's state
OPTIMIZERS = {"sgd": 2, "sgd_momentum": 3, "adam": 4}

Pair = tuple[float, float]  # vertical, horizontal


@dataclass(frozen=True)
class Layer:
    """What one call of a module costs for one image.

    Args:
        name: Of the module inside the network; "" for the network itself.
        type: Class of the module.
        output: Shape of its (first) output without the batch dimension.
        activations: Values that it adds to memory: 0 for in-place operators and views.
        weights: Scalars in its parameters other than biases; those of a module called twice count at the first call.
        biases: Scalars in its biases.
        multiply_adds: Of its convolutions, dense layers and matrix products.
        receptive_field: Pixels of the image (padding included) that a position of the output depends on, the largest
            over all paths; inf for the whole image, None where it differs between positions or is unknown.
        stride: Pixels of the image between two positions; None without positions, or where it is unknown.
        misfit: Why a filter does not fit its input, so that PyTorch rounds; "" if it does.
    """

    name: str
    type: str
    output: tuple[int, ...]
    activations: int
    weights: int
    biases: int
    multiply_adds: int
    receptive_field: Pair | None
    stride: Pair | None
    misfit: str = ""

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def activation_bytes(self) -> int:
        """Bytes of the activations in float32."""
        return FLOAT32 * self.activations


@dataclass(frozen=True)
class Summary:
    """What a network costs for one image.

    Args:
        image: Shape (C, H, W).
        layers: In the order in which they end.
        product_outputs: Output values of convolutions, dense layers and matrix products, which papers on network design
            call activations.
    """

    image: tuple[int, int, int]
    layers: tuple[Layer, ...]
    product_outputs: int

    @property
    def activations(self) -> int:
        """All values that a forward pass makes, and the image's own."""
        channels, height, width = self.image
        return channels * height * width + sum(layer.activations for layer in self.layers)

    @property
    def weights(self) -> int:
        """Scalars in all parameters other than biases."""
        return sum(layer.weights for layer in self.layers)

    @property
    def biases(self) -> int:
        """Scalars in all biases."""
        return sum(layer.biases for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def multiply_adds(self) -> int:
        """Of all convolutions, dense layers and matrix products."""
        return sum(layer.multiply_adds for layer in self.layers)

    def memory(self) -> dict[str, int]:
        """Bytes in float32.

        Returns:
            `forward`: all activations of one image, none freed. `forward_backward`: they and a gradient for each.
            `parameters`; `training_<optimizer>`: parameters, their gradients, and the optimizer's state.
        """
        forward = FLOAT32 * self.activations
        parameters = FLOAT32 * self.parameters
        training = {f"training_{name}": copies * parameters for name, copies in OPTIMIZERS.items()}
        return {"forward": forward, "forward_backward": 2 * forward, "parameters": parameters, **training}
