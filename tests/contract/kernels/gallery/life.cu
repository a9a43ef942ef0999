// Conway's game of life on a torus, 32 cells per word: a lane decides about a cell, and a ballot makes the word.

__device__ __forceinline__ unsigned cell(const unsigned* row, int x, int words) {
    x = (x + 32 * words) % (32 * words);
    return row[x / 32] >> (x % 32) & 1u;
}

extern "C" __global__ void life(const unsigned* __restrict__ in, unsigned* __restrict__ out, int words, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (y >= height || x >= 32 * words) return;
    const unsigned* const above = in + (y + height - 1) % height * words;
    const unsigned* const here = in + y * words;
    const unsigned* const below = in + (y + 1) % height * words;
    unsigned around = 0;
    for (int dx = -1; dx <= 1; ++dx) {
        around += cell(above, x + dx, words) + cell(below, x + dx, words);
        if (dx != 0) around += cell(here, x + dx, words);
    }
    const bool lives = around == 3 || (around == 2 && cell(here, x, words));
    const unsigned word = __ballot_sync(0xffffffffu, lives);
    if (threadIdx.x % 32 == 0) out[y * words + x / 32] = word;
}
