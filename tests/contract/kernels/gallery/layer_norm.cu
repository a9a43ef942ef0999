// Layer normalisation: a warp per row, Welford's moments joined by shuffles; scale and shift may be null.

struct Moments {
    float mean, squares, count;
};

__device__ Moments join(Moments a, Moments b) {
    const float count = a.count + b.count;
    if (count == 0.0f) return a;
    const float apart = b.mean - a.mean;
    return {a.mean + apart * (b.count / count), a.squares + b.squares + apart * apart * (a.count * b.count / count), count};
}

extern "C" __global__ void layer_norm(const float* __restrict__ in, const float* __restrict__ scale,
                                      const float* __restrict__ shift, float* __restrict__ out, int rows, int columns,
                                      float epsilon) {
    const int row = blockIdx.x * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    in += static_cast<size_t>(row) * columns;
    out += static_cast<size_t>(row) * columns;
    Moments mine = {0.0f, 0.0f, 0.0f};
    for (int i = threadIdx.x; i < columns; i += warpSize) {
        const float value = in[i], apart = value - mine.mean;
        mine.count += 1.0f;
        mine.mean += apart / mine.count;
        mine.squares += apart * (value - mine.mean);
    }
    for (int mask = 16; mask > 0; mask >>= 1) {
        mine = join(mine, {__shfl_xor_sync(0xffffffffu, mine.mean, mask), __shfl_xor_sync(0xffffffffu, mine.squares, mask),
                           __shfl_xor_sync(0xffffffffu, mine.count, mask)});
    }
    const float factor = rsqrtf(mine.squares / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += warpSize) {
        const float value = (in[i] - mine.mean) * factor;
        out[i] = value * (scale != nullptr ? scale[i] : 1.0f) + (shift != nullptr ? shift[i] : 0.0f);
    }
}
