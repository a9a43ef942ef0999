// Complex numbers in float2, and the stages of a Fourier transform; the host gives the stage.

__device__ __forceinline__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ __forceinline__ float2 operator*(float2 a, float2 b) {
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

extern "C" __global__ void multiply_conjugate(const float2* a, const float2* b, float2* out, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    const float2 conjugate = make_float2(b[i].x, -b[i].y);
    out[i] = a[i] * conjugate;
}

// One stage of Stockham's transform of 2 * half points: in order, from one array to the other.
extern "C" __global__ void fourier_stage(const float2* __restrict__ in, float2* __restrict__ out, int half, int stride) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= half) return;
    const int k = i & (stride - 1);
    float sine, cosine;
    sincospif(-static_cast<float>(k) / stride, &sine, &cosine);
    const float2 even = in[i], odd = in[i + half] * make_float2(cosine, sine);
    const int to = 2 * (i - k) + k;
    out[to] = even + odd;
    out[to + stride] = even - odd;
}
