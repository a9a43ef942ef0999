// Arguments that may be null: a mask, a bias and a second result.

extern "C" __global__ void magnitude(const float2* in, const unsigned char* mask, const float* bias, float* length,
                                     float* angle, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n || (mask && !mask[i])) return;
    const float2 value = in[i];
    length[i] = hypotf(value.x, value.y) + (bias ? bias[i] : 0.0f);
    if (angle != nullptr) angle[i] = atan2f(value.y, value.x);
}
