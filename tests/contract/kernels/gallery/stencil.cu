// Stencils with halos in shared memory: five points of a plane, seven of a volume.

#define TILE 16

// A diffusion step; what lies outside counts as zero.
extern "C" __global__ void five_points(const float* __restrict__ in, float* __restrict__ out, int width, int height,
                                       float rate) {
    __shared__ float tile[TILE + 2][TILE + 2];
    const int x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
    const int tx = threadIdx.x + 1, ty = threadIdx.y + 1;
    auto load = [&](int column, int row) {
        return column >= 0 && column < width && row >= 0 && row < height ? in[row * width + column] : 0.0f;
    };
    tile[ty][tx] = load(x, y);
    if (threadIdx.x == 0) tile[ty][0] = load(x - 1, y);
    if (threadIdx.x == TILE - 1) tile[ty][TILE + 1] = load(x + 1, y);
    if (threadIdx.y == 0) tile[0][tx] = load(x, y - 1);
    if (threadIdx.y == TILE - 1) tile[TILE + 1][tx] = load(x, y + 1);
    __syncthreads();
    if (x >= width || y >= height) return;
    const float centre = tile[ty][tx];
    const float around = tile[ty][tx - 1] + tile[ty][tx + 1] + tile[ty - 1][tx] + tile[ty + 1][tx];
    out[y * width + x] = centre + rate * (around - 4.0f * centre);
}

// Marches along z: the plane in shared memory, the ones before and after it in registers.
extern "C" __global__ void seven_points(const float* __restrict__ in, float* __restrict__ out, int width, int height,
                                        int depth) {
    extern __shared__ float plane[];
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    const int pitch = blockDim.x + 2, at = (threadIdx.y + 1) * pitch + threadIdx.x + 1;
    const size_t layer = static_cast<size_t>(width) * height;
    auto load = [&](int column, int row, int z) {
        const bool inside = column >= 0 && column < width && row >= 0 && row < height && z >= 0 && z < depth;
        return inside ? in[z * layer + row * width + column] : 0.0f;
    };
    float below = 0.0f, centre = load(x, y, 0);
    for (int z = 0; z < depth; ++z) {
        const float above = load(x, y, z + 1);
        __syncthreads();
        plane[at] = centre;
        if (threadIdx.x == 0) plane[at - 1] = load(x - 1, y, z);
        if (threadIdx.x == blockDim.x - 1) plane[at + 1] = load(x + 1, y, z);
        if (threadIdx.y == 0) plane[at - pitch] = load(x, y - 1, z);
        if (threadIdx.y == blockDim.y - 1) plane[at + pitch] = load(x, y + 1, z);
        __syncthreads();
        if (x < width && y < height) {
            const float around = plane[at - 1] + plane[at + 1] + plane[at - pitch] + plane[at + pitch] + below + above;
            out[z * layer + y * width + x] = around - 6.0f * centre;
        }
        below = centre;
        centre = above;
    }
}
