// Adds every thread's value to *total: lanes of a warp first, warps of a block next, then one atomic per block.
// All threads of the block have to come here.
__device__ void add_up(double value, double *total) {
    __shared__ double of_warps[32];
    unsigned lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_down_sync(0xffffffffu, value, lanes);
    if (lane == 0) of_warps[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    value = lane < warps ? of_warps[lane] : 0.0;
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_down_sync(0xffffffffu, value, lanes);
    if (lane == 0) atomicAdd(total, value);
}

// What is divided by zero belongs to a residual of zero: then there is nothing left to do.
__device__ double ratio(double a, double b) { return b > 0.0 ? a / b : 0.0; }

extern "C" __global__ void square(const double *r, double *rr, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    add_up(i < n ? r[i] * r[i] : 0.0, rr);
}

// ap = a p, and p.ap with it.
extern "C" __global__ void multiply(const double *values, const int *columns, const int *rows, const double *p,
                                    double *ap, double *p_ap, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    double sum = 0.0;
    if (i < n) {
        for (int at = rows[i]; at < rows[i + 1]; ++at) sum += values[at] * p[columns[at]];
        ap[i] = sum;
    }
    add_up(i < n ? p[i] * sum : 0.0, p_ap);
}

// A step along p, as long as makes the new residual smallest, and its square with it.
extern "C" __global__ void advance(const double *rr, const double *p_ap, const double *p, const double *ap, double *x,
                                   double *r, double *next, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    double length = ratio(*rr, *p_ap), rest = 0.0;
    if (i < n) {
        x[i] += length * p[i];
        rest = r[i] -= length * ap[i];
    }
    add_up(rest * rest, next);
}

// The next direction, conjugate to all before.
extern "C" __global__ void turn(const double *rr, const double *next, const double *r, double *p, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) p[i] = r[i] + ratio(*next, *rr) * p[i];
}
