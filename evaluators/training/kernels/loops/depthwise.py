"""The gradient of a depthwise convolution by its weight."""

from evaluators.training.kernels.loops.compiled import Array, compiled


@compiled("void(f4[:,:,:,::1], f4[:,:,:,::1], UniTuple(i8, 3), f4[:,:,::1])")
def depthwise_weight_gradient(x: Array, dy: Array, geometry: tuple[int, int, int], dweight: Array) -> None:
    """Adds to dweight [K, K, C] what follows for it from dy [N, H', W', C], in a depthwise convolution of x [N, H, W, C].

    `geometry` is stride, padding, dilation.
    """
    images, height, width, channels = x.shape
    stride, padding, dilation = geometry
    kernel = dweight.shape[0]
    for n in range(images):
        for i in range(dy.shape[1]):
            for j in range(dy.shape[2]):
                for u in range(kernel):
                    row = i * stride + u * dilation - padding
                    if row < 0 or row >= height:
                        continue
                    for v in range(kernel):
                        column = j * stride + v * dilation - padding
                        if column < 0 or column >= width:
                            continue
                        for c in range(channels):
                            dweight[u, v, c] += x[n, row, column, c] * dy[n, i, j, c]
