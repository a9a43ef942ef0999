extern "C" __global__ void magnitude(const float *re, const float *im, float *result, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) result[i] = hypotf(re[i], im[i]);
}

extern "C" __global__ void phase(const float *re, const float *im, float *result, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) result[i] = atan2f(im[i], re[i]);
}
