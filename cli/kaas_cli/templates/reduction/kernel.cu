// Sums and maxima in two steps: every block reduces its share of x, then one block reduces what the blocks left.
// The order of additions is fixed by the sizes alone, so equal inputs give equal bits.
#define THREADS 256
#define LOWEST (-__int_as_float(0x7f800000))  // minus infinity

// The sum and the maximum of one value per thread, in thread 0.
static __device__ void reduce(double &sum, float &most) {
    __shared__ double sums[THREADS];
    __shared__ float maxima[THREADS];
    int t = threadIdx.x;
    sums[t] = sum;
    maxima[t] = most;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (t < half) {
            sums[t] += sums[t + half];
            maxima[t] = fmaxf(maxima[t], maxima[t + half]);
        }
        __syncthreads();
    }
    sum = sums[0];
    most = maxima[0];
}

extern "C" __global__ void KERNEL_blocks(const float *x, double *sums, float *maxima, long long n) {
    double sum = 0;
    float most = LOWEST;
    long long stride = (long long)gridDim.x * THREADS;
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < n; i += stride) {
        sum += x[i];
        most = fmaxf(most, x[i]);
    }
    reduce(sum, most);
    if (threadIdx.x == 0) {
        sums[blockIdx.x] = sum;
        maxima[blockIdx.x] = most;
    }
}

extern "C" __global__ void KERNEL_finish(const double *sums, const float *maxima, double *total, float *greatest,
                                         int blocks) {
    double sum = 0;
    float most = LOWEST;
    for (int i = threadIdx.x; i < blocks; i += THREADS) {
        sum += sums[i];
        most = fmaxf(most, maxima[i]);
    }
    reduce(sum, most);
    if (threadIdx.x == 0) {
        total[0] = sum;
        greatest[0] = most;
    }
}
