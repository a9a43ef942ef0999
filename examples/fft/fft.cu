__device__ float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ float2 operator*(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }

// -i a
__device__ float2 turned(float2 a) { return make_float2(a.y, -a.x); }

// exp(-pi i angle)
__device__ float2 twiddle(float angle) {
    float sine, cosine;
    sincospif(angle, &sine, &cosine);
    return make_float2(cosine, -sine);
}

// A frame per blockIdx.y: samples in [-1, 1), under von Hann's window.
extern "C" __global__ void window(const short *samples, float2 *frames, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    size_t at = (size_t)blockIdx.y * size + i;
    frames[at] = make_float2((0.5f - 0.5f * cospif(2.0f * i / size)) * samples[at] / 32768.0f, 0.0f);
}

// The first stage: transforms of 2 points, halves of the frame apart.
extern "C" __global__ void radix2(const float2 *in, float2 *out, int size) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, half = size / 2;
    if (i >= half) return;
    in += (size_t)blockIdx.y * size;
    out += (size_t)blockIdx.y * size;
    out[2 * i] = in[i] + in[i + half];
    out[2 * i + 1] = in[i] - in[i + half];
}

// One stage: from transforms of `done` points each to those of 4 * done.
extern "C" __global__ void radix4(const float2 *in, float2 *out, int size, int done) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, quarter = size / 4;
    if (i >= quarter) return;
    in += (size_t)blockIdx.y * size;
    out += (size_t)blockIdx.y * size;
    int k = i % done;
    float angle = 0.5f * k / done;
    float2 a = in[i], b = in[i + quarter] * twiddle(angle), c = in[i + 2 * quarter] * twiddle(2.0f * angle),
           d = in[i + 3 * quarter] * twiddle(3.0f * angle);
    out += 4 * (i - k) + k;
    out[0] = (a + c) + (b + d);
    out[done] = (a - c) + turned(b - d);
    out[2 * done] = (a + c) - (b + d);
    out[3 * done] = (a - c) - turned(b - d);
}
