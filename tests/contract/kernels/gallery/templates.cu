// Kernels that are templates; the host names the instances.

namespace fold {

template <typename T>
struct Sum {
    static __device__ T empty() { return T(0); }
    __device__ T operator()(T a, T b) const { return a + b; }
};

template <typename T>
struct Most {
    static __device__ T empty() { return T(-100); }
    __device__ T operator()(T a, T b) const { return a < b ? b : a; }
};

// One result per block of exactly `threads` threads.
template <typename T, template <typename> class Operation, unsigned threads>
__global__ void blocks(const T* __restrict__ in, T* __restrict__ out, int n) {
    __shared__ T partial[threads];
    const Operation<T> join;
    const int i = blockIdx.x * threads + threadIdx.x;
    partial[threadIdx.x] = i < n ? in[i] : Operation<T>::empty();
    __syncthreads();
#pragma unroll
    for (unsigned half = threads / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] = join(partial[threadIdx.x], partial[threadIdx.x + half]);
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = partial[0];
}

}  // namespace fold

// A specialisation takes the place of the general kernel.
template <int lanes>
__global__ void lanes_of(int* out) {
    out[threadIdx.x] = lanes * static_cast<int>(threadIdx.x);
}

template <>
__global__ void lanes_of<1>(int* out) {
    out[threadIdx.x] = -1;
}
